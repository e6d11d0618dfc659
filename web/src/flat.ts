// Where there is no WebGL 2: each frame as it came, crisp, in whole device pixels.

import { Glow, Intake, label, type View } from "./view";
import type { Bitmap, Decoder } from "./decoder";
import type { Frame } from "./wire";

export class FlatView implements View {
  private depth = false;
  private readonly pen: CanvasRenderingContext2D;
  private readonly glow: Glow;
  private readonly intake: Intake;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    glow: HTMLCanvasElement,
    private readonly room: HTMLElement,
    decoder: Decoder,
  ) {
    this.intake = new Intake(decoder);
    this.pen = canvas.getContext("2d", { alpha: false })!;
    this.glow = new Glow(glow);
    new ResizeObserver(() => this.fit()).observe(room);
    this.fit();
  }

  begin(): void {
    this.intake.begin();
  }

  draw(frame: Frame): Promise<[number, number] | null> {
    return this.intake.take(frame, (bitmap) => this.paint(frame, bitmap));
  }

  showDepth(on: boolean): void {
    this.depth = on;
  }

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
    const left = this.depth && frame.hasDepth ? width : 0;
    this.pen.drawImage(bitmap, left, 0, width, height, 0, 0, width, height);
    this.glow.shine(frame, bitmap);
    label(this.canvas, frame);
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
