// Frames and words as they come over the WebSocket. The layout is described in server/wire.py; this reads it.

export const PROTOCOL = "elsewhere.1";
const MAGIC = 0x57534c45; // "ELSW", little-endian
const VERSION = 1;
const FIXED_BYTES = 160;
const FLAG_DEPTH = 2;

export const STAGES = ["simulate", "guide", "network", "decode", "encode", "wait", "round trip"] as const;

export interface Frame {
  width: number;
  height: number;
  hasDepth: boolean;
  id: number;
  world: string;
  tick: number;
  /** Camera to world, row by row. */
  pose: Float32Array;
  focal: number;
  center: [number, number];
  near: number;
  far: number;
  /** Milliseconds, in the order of STAGES. */
  timings: number[];
  picture: Blob;
}

export interface Unknown {
  word: string;
  nearest: string;
}

export type Words =
  | {
      type: "world";
      prompt: string;
      seed: string;
      mode: string;
      width: number;
      height: number;
      fps: number;
      pace: number;
      unknown: Unknown[];
      notes: string[];
    }
  | { type: "steering"; steering: boolean; people: number }
  | { type: "error"; code: string; message: string; unknown?: Unknown[] };

/** Reads a binary message; throws when it is no frame of this protocol version. */
export function readFrame(buffer: ArrayBuffer): Frame {
  const view = new DataView(buffer);
  if (buffer.byteLength < FIXED_BYTES || view.getUint32(0, true) !== MAGIC) throw new Error("not a frame");
  if (view.getUint16(4, true) !== VERSION) throw new Error("the server speaks another version; reload the page");
  const floats = (offset: number, count: number) =>
    Float32Array.from({ length: count }, (_, i) => view.getFloat32(offset + 4 * i, true));
  return {
    width: view.getUint16(12, true),
    height: view.getUint16(14, true),
    hasDepth: (view.getUint8(9) & FLAG_DEPTH) !== 0,
    id: Number(view.getBigUint64(16, true)),
    world: view.getBigUint64(24, true).toString(16),
    tick: Number(view.getBigUint64(32, true)),
    pose: floats(48, 16),
    focal: view.getFloat32(112, true),
    center: [view.getFloat32(116, true), view.getFloat32(120, true)],
    near: view.getFloat32(124, true),
    far: view.getFloat32(128, true),
    timings: [...floats(132, STAGES.length)],
    picture: new Blob([buffer.slice(view.getUint16(6, true))], { type: "image/jpeg" }),
  };
}
