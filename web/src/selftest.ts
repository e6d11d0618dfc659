// Can this browser show a world? Each part is tried and told in plain words.

import { Headset } from "./headset";
import { isSoftware, rendererOf } from "./stage";

export interface Finding {
  part: string;
  /** Works, works but slowly or not at all with a way around, does not work. */
  good: "yes" | "so-so" | "no";
  words: string;
}

const ROUNDS = 5;

/** Tries everything; never throws. */
export async function findings(gl: WebGL2RenderingContext | null): Promise<Finding[]> {
  return Promise.all([decoder(), network(), Promise.resolve(graphics(gl)), headset(gl)]);
}

async function decoder(): Promise<Finding> {
  const part = "Pictures";
  try {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [256, 128];
    const pen = canvas.getContext("2d", { willReadFrequently: true })!;
    pen.fillStyle = "#c84020";
    pen.fillRect(0, 0, 256, 128);
    const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/jpeg", 0.9));
    if (!blob) throw new Error("no JPEG");
    const start = performance.now();
    const bitmap = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
    const took = performance.now() - start;
    pen.clearRect(0, 0, 256, 128);
    pen.drawImage(bitmap, 0, 0);
    bitmap.close();
    const [r, g, b] = pen.getImageData(128, 64, 1, 1).data as unknown as [number, number, number];
    if (Math.abs(r - 0xc8) + Math.abs(g - 0x40) + Math.abs(b - 0x20) > 24) throw new Error("wrong colours");
    return { part, good: "yes", words: `decoded in ${took.toFixed(1)} ms, colours are right` };
  } catch (failure) {
    return { part, good: "no", words: `This browser does not decode the frames (${String(failure)}). Try another.` };
  }
}

async function network(): Promise<Finding> {
  const part = "Network";
  try {
    const times: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      const start = performance.now();
      const answer = await fetch("healthz", { cache: "no-store" });
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      await answer.arrayBuffer();
      times.push(performance.now() - start);
    }
    const middle = times.sort((a, b) => a - b)[ROUNDS >> 1]!;
    const words = `there and back in ${middle.toFixed(0)} ms`;
    if (middle < 80) return { part, good: "yes", words };
    return { part, good: "so-so", words: `${words}: new pictures come late, the view still turns at once` };
  } catch (failure) {
    return { part, good: "no", words: `The server does not answer (${String(failure)}).` };
  }
}

function graphics(gl: WebGL2RenderingContext | null): Finding {
  const part = "Graphics";
  if (!gl) return { part, good: "so-so", words: "no WebGL 2: pictures are flat and move when the server answers" };
  const name = rendererOf(gl);
  if (isSoftware(name)) return { part, good: "so-so", words: `${name}: drawn by the processor, at a smaller size` };
  return { part, good: "yes", words: name };
}

async function headset(gl: WebGL2RenderingContext | null): Promise<Finding> {
  const part = "Headset";
  if (!isSecureContext) {
    const words = "needs https or localhost; over a cable, adb reverse tcp:8000 tcp:8000 gives the headset a localhost";
    return { part, good: "no", words };
  }
  if (!navigator.xr) return { part, good: "no", words: "this browser knows no headsets (no WebXR)" };
  if (!(await Headset.possible())) return { part, good: "no", words: "none connected, or it is not switched on" };
  if (!gl) return { part, good: "no", words: "there is one, but without WebGL 2 it cannot be drawn to" };
  return { part, good: "yes", words: "ready: press Enter VR" };
}
