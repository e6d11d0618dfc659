// The world on a flat screen: the camera moves at the display's rate, whatever the server does. It does not know whose
// hands move it.

import type { Decoder } from "./decoder";
import type { Figure } from "./people";
import { distance, pinhole, poseOf, wrap, type Matrix, type Stand } from "./pose";
import { Reprojection, type Style } from "./reprojection";
import type { Shot } from "./shot";
import { Glow, Intake, label, type View } from "./view";
import type { Frame } from "./wire";

/** The screen shows this much less than the picture holds, so that its edge is not seen at each small turn. */
const MARGIN = 1.05;
/** Radians asked for on each side beyond what is shown: at rest, and while the view turns. */
const [WIDER_STILL, WIDER_TURNING] = [0.07, 0.21];
const TURNING = 0.25; // radians a second
const TURNED_SECONDS = 0.8;
const SIDE_MOST = 1280;
/** Where the processor draws, more pixels than this a side take time from the frames themselves. */
const SOFTWARE_SIDE_MOST = 448;
const [NEAR, FAR] = [0.02, 1e5];

export class Stage implements View {
  /** Another hand draws into the canvas, at another rate: a headset. */
  paused = false;
  /** Milliseconds of script and draw calls of the last picture, and pictures drawn so far. */
  readonly cost = { milliseconds: 0, pictures: 0 };
  readonly style: Style = { depth: false, squares: false, fine: true };
  reprojection: Reprojection;
  private readonly software: boolean;
  private readonly glow: Glow;
  private readonly intake: Intake;
  private frame: Frame | null = null;
  private last: Stand | null = null;
  private stale = true;
  /** The shot's focal length in widths of the picture; 0 when the server does not say. */
  lens = 0;
  /** Others in this world. */
  people: () => readonly Figure[] = () => [];
  private turnedAt = -10;
  private renderedAt = 0;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    readonly gl: WebGL2RenderingContext,
    glow: HTMLCanvasElement,
    private readonly room: HTMLElement,
    decoder: Decoder,
    private readonly shot: Shot,
    private readonly where: (now: number) => Stand,
  ) {
    this.intake = new Intake(decoder);
    this.software = isSoftware(rendererOf(gl));
    this.reprojection = new Reprojection(gl, this.software);
    this.glow = new Glow(glow);
    this.style.fine = !this.software;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => (this.reprojection = new Reprojection(gl, this.software)));
    new ResizeObserver(() => this.fit()).observe(room);
    addEventListener("resize", () => this.fit());
    this.fit();
    const tick = () => {
      requestAnimationFrame(tick);
      this.render(performance.now() / 1e3);
    };
    tick();
  }

  begin(another: boolean): void {
    this.intake.begin();
    if (another) this.reprojection.begin();
  }

  draw(frame: Frame): Promise<[number, number] | null> {
    return this.intake.take(frame, (bitmap) => {
      if (this.gl.isContextLost()) return;
      this.reprojection.show(frame, bitmap);
      this.shot.see(frame.pose, frame.tick, performance.now() / 1e3);
      const resized = this.frame?.width !== frame.width || this.frame.height !== frame.height;
      this.frame = frame;
      if (resized) this.fit();
      this.glow.shine(frame, bitmap);
      label(this.canvas, frame);
      this.stale = true;
      if (!this.paused) this.render(performance.now() / 1e3);
    });
  }

  showDepth(on: boolean): void {
    this.style.depth = on;
    this.stale = true;
  }

  smooth(on: boolean): void {
    this.style.squares = !on;
    this.stale = true;
  }

  private render(now: number): void {
    const { frame, gl, canvas } = this;
    if (this.paused || !frame || !this.reprojection.ready || gl.isContextLost()) return;
    const stand = this.where(now);
    const people = this.people();
    this.stale ||= people.length > 0;
    if (this.last) {
      const turned = Math.abs(wrap(stand.heading - this.last.heading)) + Math.abs(stand.tilt - this.last.tilt);
      if (turned > TURNING * Math.min(0.1, now - this.renderedAt)) this.turnedAt = now;
    }
    if (!this.stale && this.last && this.still(stand, this.last)) return;
    this.stale = false;
    this.last = stand;
    this.renderedAt = now;
    const start = performance.now();
    const { focal, center, width, height } = frame;
    const viewport = [0, 0, canvas.width, canvas.height] as const;
    const shown = this.lens > 0 ? this.lens * width : focal * MARGIN;
    const projection = pinhole(shown, center, width, height, NEAR, FAR);
    this.reprojection.draw([{ viewport, projection, pose: poseOf(stand) }], null, this.style, people);
    this.cost.milliseconds = performance.now() - start;
    this.cost.pictures += 1;
  }

  /** Radians across the picture that the server should make at `now` seconds: wider than what is shown; 0 for any. */
  across(now: number): number {
    if (this.lens <= 0) return 0;
    const wider = now - this.turnedAt < TURNED_SECONDS ? WIDER_TURNING : WIDER_STILL;
    return 2 * (Math.atan(0.5 / this.lens) + wider);
  }

  /** Where the person's eyes are; null before the first picture. */
  get eyes(): Matrix | null {
    return this.last && poseOf(this.last);
  }

  private still(a: Stand, b: Stand): boolean {
    const turned = Math.abs(a.heading - b.heading) + Math.abs(a.tilt - b.tilt);
    return turned < 2e-4 && distance(a.position, b.position) < 2e-4 * this.shot.pace;
  }

  private fit(): void {
    if (this.paused) return;
    const ratio = devicePixelRatio || 1;
    const aspect = this.frame ? this.frame.width / this.frame.height : 1;
    const height = Math.max(1, Math.min(this.room.clientHeight, this.room.clientWidth / aspect));
    const most = this.software ? SOFTWARE_SIDE_MOST : SIDE_MOST;
    const scale = Math.min(ratio, most / Math.max(height, height * aspect));
    const size = [Math.max(1, Math.round(height * aspect * scale)), Math.max(1, Math.round(height * scale))] as const;
    if (this.canvas.width !== size[0] || this.canvas.height !== size[1]) {
      [this.canvas.width, this.canvas.height] = size;
    }
    this.canvas.style.width = `${height * aspect}px`;
    this.canvas.style.height = `${height}px`;
    this.stale = true;
    this.render(performance.now() / 1e3);
  }

  /** A headset had the canvas. */
  resume(): void {
    this.paused = false;
    this.fit();
  }
}

/** The WebGL 2 of a canvas, or null; asking for it takes the canvas from nobody else when there is none. */
export function glassOf(canvas: HTMLCanvasElement): WebGL2RenderingContext | null {
  return canvas.getContext("webgl2", {
    alpha: false,
    antialias: false,
    stencil: false,
    powerPreference: "high-performance",
    xrCompatible: "xr" in navigator,
  } as WebGLContextAttributes) as WebGL2RenderingContext | null;
}

export function rendererOf(gl: WebGL2RenderingContext): string {
  const more = gl.getExtension("WEBGL_debug_renderer_info");
  return String(gl.getParameter(more ? more.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

export function isSoftware(renderer: string): boolean {
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
}
