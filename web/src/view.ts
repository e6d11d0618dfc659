// Draws frames: crisp, whole device pixels, in the order they were made. It does not know where they come from.

import type { Bitmap, Decoder } from "./decoder";
import type { Frame } from "./wire";

export class View {
  showDepth = false;
  private readonly pen: CanvasRenderingContext2D;
  private readonly glow: CanvasRenderingContext2D;
  private drawn = -1;
  private epoch = 0;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    glow: HTMLCanvasElement,
    private readonly room: HTMLElement,
    private readonly decoder: Decoder,
  ) {
    this.pen = canvas.getContext("2d", { alpha: false })!;
    this.glow = glow.getContext("2d", { alpha: false })!;
    new ResizeObserver(() => this.fit()).observe(room);
    this.fit();
  }

  /** Another world begins: what is still being decoded belongs to the last and is not drawn. */
  begin(): void {
    this.epoch += 1;
    this.drawn = -1;
    this.decoder.reset();
  }

  /** Decodes and draws; gives the milliseconds of both, or null for a frame that came too late. */
  async draw(frame: Frame): Promise<[number, number] | null> {
    const epoch = this.epoch;
    const start = performance.now();
    const bitmap = await this.decoder.decode(frame);
    if (bitmap === null) return null;
    const decoded = performance.now();
    const late = epoch !== this.epoch || frame.id <= this.drawn;
    if (!late) {
      this.drawn = frame.id;
      this.paint(frame, bitmap);
    }
    bitmap.close();
    return late ? null : [decoded - start, performance.now() - decoded];
  }

  /** Sharp squares, or interpolated. */
  smooth(on: boolean): void {
    this.canvas.classList.toggle("smooth", on);
  }

  private paint(frame: Frame, bitmap: Bitmap): void {
    const { width, height } = frame;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.fit();
    }
    const left = this.showDepth && frame.hasDepth ? width : 0;
    this.pen.drawImage(bitmap, left, 0, width, height, 0, 0, width, height);
    this.glow.drawImage(this.canvas, 0, 0, 16, 16);
    this.canvas.dataset.frame = String(frame.id);
    this.canvas.dataset.world = frame.world;
  }

  private fit(): void {
    const ratio = devicePixelRatio || 1;
    const { width, height } = this.canvas;
    const most = Math.min((this.room.clientWidth * ratio) / width, (this.room.clientHeight * ratio) / height);
    const scale = most >= 1 ? Math.floor(most) : most;
    this.canvas.style.width = `${(width * scale) / ratio}px`;
    this.canvas.style.height = `${(height * scale) / ratio}px`;
  }
}
