// Frames and words as they come over the WebSocket. Fields and messages are in protocol.ts, made from the server's.

import {
  CODECS,
  FLAG_BARS,
  FLAG_DEPTH,
  FLAG_KEY,
  HEADER_BYTES,
  MAGIC,
  VERSION,
  readHeader,
} from "./protocol";

export { PROTOCOL, type Message, type Unknown, type Words } from "./protocol";

/** Headings of a header's timings, in their order. */
export const STAGES = ["simulate", "guide", "hold", "network", "decode", "encode", "wait", "round trip"] as const;

export type Codec = keyof typeof CODECS;

export interface Frame {
  width: number;
  height: number;
  hasDepth: boolean;
  hasBars: boolean;
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
  codec: Codec;
  /** Needs no other picture to be decoded. */
  key: boolean;
  /** Counts the pictures of one encoder; a gap means that nothing can be decoded until a key picture. */
  sequence: number;
  encoder: number;
  /** What WebCodecs calls the codec; empty for JPEG. */
  config: string;
  /** The server's clock in milliseconds: when the frame's simulation began, when the frame was handed over. */
  begun: number;
  sent: number;
  /** performance.now() when the frame came. */
  received: number;
  data: Uint8Array<ArrayBuffer>;
  /** The picture of a JPEG frame. */
  picture: Blob;
}

const NAMES = new Map<number, Codec>(Object.entries(CODECS).map(([name, number]) => [number, name as Codec]));

/** Reads a binary message; throws when it is no frame of this protocol version. */
export function readFrame(buffer: ArrayBuffer, received = performance.now()): Frame {
  const view = new DataView(buffer);
  if (buffer.byteLength < 6 || view.getUint32(0, true) !== MAGIC) throw new Error("not a frame");
  if (view.getUint16(4, true) !== VERSION) throw new Error("the server speaks another version; reload the page");
  if (buffer.byteLength < HEADER_BYTES) throw new Error("a frame was cut short");
  const header = readHeader(view);
  const codec = NAMES.get(header.codec);
  const end = HEADER_BYTES + header.configBytes;
  if (codec === undefined || header.headerBytes !== end || end > buffer.byteLength) throw new Error("not a frame");
  return {
    width: header.width,
    height: header.height,
    hasDepth: (header.flags & FLAG_DEPTH) !== 0,
    hasBars: (header.flags & FLAG_BARS) !== 0,
    id: header.frameId,
    world: header.worldId,
    tick: header.tick,
    pose: header.pose,
    focal: header.focal,
    center: [header.center[0]!, header.center[1]!],
    near: header.near,
    far: header.far,
    timings: [...header.timings],
    codec,
    key: (header.flags & FLAG_KEY) !== 0,
    sequence: header.sequence,
    encoder: header.encoder,
    config: new TextDecoder().decode(new Uint8Array(buffer, HEADER_BYTES, header.configBytes)),
    begun: header.begun,
    sent: header.sent,
    received,
    data: new Uint8Array(buffer, end),
    picture: new Blob([new Uint8Array(buffer, end)], { type: "image/jpeg" }),
  };
}
