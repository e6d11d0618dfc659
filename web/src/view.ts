// What every way of showing frames has in common: order, decoding, and the light that a picture throws on the wall.

import type { Bitmap, Decoder } from "./decoder";
import type { Frame } from "./wire";

/** A place where frames are shown. */
export interface View {
  /** Frames are counted anew, those still being decoded are not drawn. In another world, what was seen is gone. */
  begin(another: boolean): void;
  /** Decodes and draws; gives the milliseconds of both, or null for a frame that came too late. */
  draw(frame: Frame): Promise<[number, number] | null>;
  showDepth(on: boolean): void;
  /** Interpolated, or sharp squares. */
  smooth(on: boolean): void;
}

/** Decodes frames and lets through those that are newer than the last, each once. */
export class Intake {
  private drawn = -1;
  private epoch = 0;

  constructor(private readonly decoder: Decoder) {}

  begin(): void {
    this.epoch += 1;
    this.drawn = -1;
    this.decoder.reset();
  }

  async take(frame: Frame, paint: (bitmap: Bitmap) => void): Promise<[number, number] | null> {
    const epoch = this.epoch;
    const start = performance.now();
    const bitmap = await this.decoder.decode(frame);
    if (bitmap === null) return null;
    const decoded = performance.now();
    try {
      if (epoch !== this.epoch || frame.id <= this.drawn) return null;
      const columns = frame.hasDepth ? 2 * frame.width : frame.width;
      const [width, height] =
        bitmap instanceof ImageBitmap ? [bitmap.width, bitmap.height] : [bitmap.displayWidth, bitmap.displayHeight];
      if (width < columns || height < frame.height) throw new Error("a picture smaller than its frame says");
      this.drawn = frame.id;
      paint(bitmap);
      return [decoded - start, performance.now() - decoded];
    } finally {
      bitmap.close();
    }
  }
}

/** The picture's own light, on a small canvas that the page blurs. */
export class Glow {
  private readonly pen: CanvasRenderingContext2D;

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.pen = canvas.getContext("2d", { alpha: false })!;
  }

  shine(frame: Frame, bitmap: Bitmap): void {
    const { width, height } = this.canvas;
    this.pen.drawImage(bitmap, 0, 0, frame.width, frame.height, 0, 0, width, height);
  }
}

/** Says on the canvas which frame it shows. */
export function label(canvas: HTMLCanvasElement, frame: Frame): void {
  canvas.dataset.frame = String(frame.id);
  canvas.dataset.world = frame.world;
  canvas.dataset.focal = String(Math.round(frame.focal));
}
