// Made by scripts/generate_wire.py from server/schema.py; a change here is lost.

export const VERSION = 2;
export const PROTOCOL = "elsewhere.2";
export const TOKEN_PROTOCOL = "token.";
export const MAGIC = 1465076805;
export const HEADER_BYTES = 188;
export const FLAG_KEY = 1;
export const FLAG_DEPTH = 2;
export const FLAG_BARS = 4;
export const CODECS = { jpeg: 1, h264: 2, vp8: 3 } as const;
export const TIMINGS = ["simulate", "guide", "hold", "network", "decode", "encode", "wait", "round_trip"] as const;

export interface Header {
  /** "ELSW" */
  magic: number;
  /** of this protocol */
  version: number;
  /** where the picture begins */
  headerBytes: number;
  /** 1 JPEG, 2 H.264, 3 VP8 */
  codec: number;
  /** 1 key frame, 2 inverse depth at the right of the colour, 4 bar code in the first rows */
  flags: number;
  /** ASCII of the encoder's configuration, after the fixed fields */
  configBytes: number;
  /** of the colour picture, pixels */
  width: number;
  /** of the colour picture, pixels */
  height: number;
  /** counts up; frames that were left out have ids too */
  frameId: number;
  /** the same for all frames of one world */
  worldId: string;
  /** of the simulation, 1/240 s */
  tick: number;
  /** of the world */
  seed: string;
  /** camera to world, row by row */
  pose: Float32Array;
  /** focal length, pixels */
  focal: number;
  /** pixels */
  center: Float32Array;
  /** metres */
  near: number;
  /** metres */
  far: number;
  /** milliseconds, in the order of TIMINGS */
  timings: Float32Array;
  /** counts the pictures of one encoder: without a gap, or a key frame */
  sequence: number;
  /** which encoder of the server made the picture */
  encoder: number;
  /** server's clock when the frame's simulation began, milliseconds */
  begun: number;
  /** server's clock when the frame was handed to the socket, milliseconds */
  sent: number;
}

/** The fixed fields at the beginning of a frame; the caller has checked that there are enough bytes. */
export function readHeader(view: DataView): Header {
  return {
    magic: view.getUint32(0, true),
    version: view.getUint16(4, true),
    headerBytes: view.getUint16(6, true),
    codec: view.getUint8(8),
    flags: view.getUint8(9),
    configBytes: view.getUint16(10, true),
    width: view.getUint16(12, true),
    height: view.getUint16(14, true),
    frameId: Number(view.getBigUint64(16, true)),
    worldId: view.getBigUint64(24, true).toString(16).padStart(16, "0"),
    tick: Number(view.getBigUint64(32, true)),
    seed: view.getBigUint64(40, true).toString(),
    pose: Float32Array.from({ length: 16 }, (_, i) => view.getFloat32(48 + 4 * i, true)),
    focal: view.getFloat32(112, true),
    center: Float32Array.from({ length: 2 }, (_, i) => view.getFloat32(116 + 4 * i, true)),
    near: view.getFloat32(124, true),
    far: view.getFloat32(128, true),
    timings: Float32Array.from({ length: 8 }, (_, i) => view.getFloat32(132 + 4 * i, true)),
    sequence: view.getUint32(164, true),
    encoder: view.getUint32(168, true),
    begun: view.getFloat64(172, true),
    sent: view.getFloat64(180, true),
  };
}

/** A word that was not understood, and the nearest that is. */
export interface Unknown {
  word: string;
  nearest: string;
}

/** Someone in the same world. */
export interface Person {
  id: number;
  name: string;
  watch_only: boolean;
  host: boolean;
  voice: boolean;
}

/** Where a person's head is: metres and a quaternion xyzw; and the hands, three numbers each. */
export interface Head {
  id: number;
  position: [number, number, number];
  turn: [number, number, number, number];
  hands: number[];
}

/** Asks for a world: None for what the server shows, or a prompt. `codecs` are what the client can decode, best first; `name` is shown to others; who only watches never steers. */
export interface Join {
  type: "join";
  prompt?: string | null;
  seed?: number | null;
  mode?: string | null;
  codecs?: string[];
  name?: string;
  watch_only?: boolean;
}

/** Where the client looks, and how wide (radians; 0 as the shot); see `elsewhere.live.Controls`. `tick` is when it shall happen, 0 at once. */
export interface Look {
  type: "look";
  yaw?: number;
  pitch?: number;
  offset?: [number, number, number];
  across?: number;
  tick?: number;
}

/** The client has drawn this frame, or cannot. The milliseconds are its own stages, 0 when unknown. */
export interface Acknowledge {
  type: "ack";
  frame: number;
  receive?: number;
  decode?: number;
  draw?: number;
  total?: number;
}

/** The client's decoder lost its way and needs a key frame; after `codecs`, of one of these codecs. */
export interface Key {
  type: "key";
  codecs?: string[];
}

/** The client's clock, in milliseconds; comes back with the server's. */
export interface AskClock {
  type: "clock";
  client: number;
}

/** Where the client's head is in the world: metres and a quaternion xyzw; and its hands, three numbers each. Told to others, never stored. */
export interface Pose {
  type: "pose";
  position: [number, number, number];
  turn: [number, number, number, number];
  hands?: number[];
}

/** Nothing of `person` reaches this client any more, and nothing of it reaches them. */
export interface Block {
  type: "block";
  person: number;
  blocked?: boolean;
}

/** A host shows `person` out of the world. */
export interface Remove {
  type: "remove";
  person: number;
}

/** Asks for a camera of its own in this world, or gives it back. The answer is news of kind camera. */
export interface Camera {
  type: "camera";
  own: boolean;
}

/** Whether this client wants to talk and hear. Browsers talk to each other; the server only lets them find each other. */
export interface Voice {
  type: "voice";
  on: boolean;
}

/** Words of WebRTC for `person`, who is in the same world with voice on; passed on unread. */
export interface Signal {
  type: "signal";
  person: number;
  data: string;
}

/** Lets something happen in the world: rain {amount}, wind {speed, heading}, splash {x, z} or push {body, x, y, z}. Everyone is told; who only watches may not. */
export interface Happen {
  type: "happen";
  action: string;
  arguments: Record<string, number | string>;
}

export type Message =
  | Join
  | Look
  | Acknowledge
  | Key
  | AskClock
  | Pose
  | Block
  | Remove
  | Camera
  | Voice
  | Signal
  | Happen;

/** A world was entered. `you` is this client's number among the people; `lens` is the shot's focal length in widths of the picture, 0 where it is not known. */
export interface Welcome {
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
  codec: string;
  you: number;
  host: boolean;
  lens: number;
}

/** Who looks around, and how many are here. */
export interface Steering {
  type: "steering";
  steering: boolean;
  people: number;
}

/** Something was not done, and why; `code` is one of message, rate, prompt, full, world, person. */
export interface Failure {
  type: "error";
  code: string;
  message: string;
  unknown: Unknown[];
}

/** The server's clock (milliseconds) when the client's message came, and the world's tick. */
export interface TellClock {
  type: "clock";
  client: number;
  server: number;
  tick: number;
}

/** What the world is shown with, and what was lost: frames that came late, and frames this client skipped. `fallen` counts the steps down from what was asked for. */
export interface Quality {
  type: "quality";
  steps: number;
  width: number;
  height: number;
  fps: number;
  kilobits: number;
  late: number;
  skipped: number;
  fallen: number;
}

/** Everyone in this world whom this client has not blocked, in the order they came. */
export interface People {
  type: "people";
  people: Person[];
}

/** The latest heads of others, at the server's clock in milliseconds. */
export interface Heads {
  type: "heads";
  clock: number;
  heads: Head[];
}

/** What happened to this world, for a subtitle; `what` is one of restarting, replaying, event, quality, camera. */
export interface News {
  type: "news";
  what: string;
  message: string;
}

/** Words of WebRTC from `person`. */
export interface Signalled {
  type: "signalled";
  person: number;
  data: string;
}

export type Words =
  | Welcome
  | Steering
  | Failure
  | TellClock
  | Quality
  | People
  | Heads
  | News
  | Signalled;
