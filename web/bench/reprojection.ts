// Times the reprojection of two eyes: script with draw calls, and until the renderer has finished.

import { Reprojection, type Eye, type Style, type Taken } from "../src/reprojection";
import { pinhole, poseOf } from "../src/pose";
import { glassOf, isSoftware, rendererOf } from "../src/stage";

const SIDE = 128;
const FOCAL = 110;
const EYES_APART = 0.064;

interface Case {
  width: number;
  height: number;
  frames: number;
  fine: boolean;
}

/** A frame of hills: smooth ground, and blocks that stand out of it. */
function picture(id: number, heading: number): [Taken, ImageData] {
  const data = new ImageData(2 * SIDE, SIDE);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const block = (Math.floor(x / 16) + Math.floor(y / 16)) % 4 === 0;
      const near = block ? 220 : (200 * y) / SIDE;
      const at = 4 * (y * 2 * SIDE + x);
      data.data.set([x * 2, y * 2, block ? 200 : 90, 255], at);
      data.data.set([near, near, near, 255], at + 4 * SIDE);
    }
  }
  const pose = poseOf({ position: [0, 1.6, 0], heading, tilt: 0 });
  const rows = Float32Array.from({ length: 16 }, (_, i) => pose[4 * (i % 4) + Math.floor(i / 4)]!);
  const frame: Taken = {
    width: SIDE,
    height: SIDE,
    hasDepth: true,
    id,
    world: "0",
    tick: 10 * id,
    pose: rows,
    focal: FOCAL,
    center: [SIDE / 2, SIDE / 2],
    near: 1,
    far: 40,
  };
  return [frame, data];
}

function eyes(width: number, height: number, heading: number): Eye[] {
  return [-0.5, 0.5].map((side, i) => ({
    viewport: [i * width, 0, width, height] as const,
    projection: pinhole(height / 2, [width / 2, height / 2], width, height, 0.05, 1e4),
    pose: poseOf({ position: [0.05 + side * EYES_APART, 1.6, 0.02], heading, tilt: 0.05 }),
  }));
}

function spread(times: number[]): Record<string, number> {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) => Number(sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(3));
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

async function time({ width, height, frames, fine }: Case): Promise<object> {
  const canvas = document.querySelector<HTMLCanvasElement>("#picture")!.cloneNode() as HTMLCanvasElement;
  [canvas.width, canvas.height] = [2 * width, height];
  const gl = glassOf(canvas)!;
  const made = new Reprojection(gl, isSoftware(rendererOf(gl)));
  // The head has looked around: the key frames are there.
  for (let i = 0; i < 6; i++) made.show(...picture(i, 0.35 * (i < 5 ? i - 2 : 0)));
  const style: Style = { depth: false, squares: false, fine };
  const pixel = new Uint8Array(4);
  const [submit, finish]: [number[], number[]] = [[], []];
  for (let i = -5; i < frames; i++) {
    const start = performance.now();
    made.draw(eyes(width, height, 0.002 * i), null, style);
    const submitted = performance.now();
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel); // waits until all is drawn
    const finished = performance.now();
    if (i >= 0) {
      submit.push(submitted - start);
      finish.push(finished - start);
    }
    await new Promise((done) => setTimeout(done, 0));
  }
  if (pixel[0]! + pixel[1]! + pixel[2]! === 0) throw new Error("nothing was drawn");
  const result = {
    ...{ width, height, eyes: 2, frames, fine, meshes: made.meshes, renderer: rendererOf(gl) },
    ...{ script_and_draw_calls_ms: spread(submit), finished_ms: spread(finish) },
  };
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return result;
}

(window as unknown as { time: typeof time }).time = time;
