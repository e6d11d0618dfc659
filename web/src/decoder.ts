// Encoded pictures become bitmaps: JPEG by the browser's own reader, H.264 and VP8 through WebCodecs.
// It does not know where frames come from, nor how they are drawn.

import type { Codec, Frame } from "./wire";

export type Bitmap = ImageBitmap | VideoFrame;

/** What asks WebCodecs for each codec, best first. */
const CANDIDATES: [Codec, string][] = [
  ["h264", "avc1.42E01F"],
  ["vp8", "vp8"],
];
/** Pictures in the decoder at a time; with more it does not keep up and a key picture is better. */
const INSIDE_MOST = 8;

/** The codecs that this browser can decode, best first; JPEG is always the last of them. */
export async function decodable(): Promise<Codec[]> {
  const found: Codec[] = [];
  if (typeof VideoDecoder !== "undefined") {
    for (const [name, codec] of CANDIDATES) {
      try {
        const answer = await VideoDecoder.isConfigSupported({ codec, codedWidth: 512, codedHeight: 256 });
        if (answer.supported) found.push(name);
      } catch {
        // A browser that throws here cannot decode it either.
      }
    }
  }
  return [...found, "jpeg"];
}

interface Waiting {
  resolve(bitmap: Bitmap | null): void;
}

export class Decoder {
  private video: VideoDecoder | null = null;
  private config = "";
  private encoder = -1;
  private sequence = -1;
  private readonly inside = new Map<number, Waiting>();

  /** `onLost` is told when only a key picture helps, and whether WebCodecs itself failed. */
  constructor(private readonly onLost: (failed: boolean) => void) {}

  /** The frame's picture, colour at the left and depth at the right; null when it cannot be decoded. */
  decode(frame: Frame): Promise<Bitmap | null> {
    if (frame.codec === "jpeg") return createImageBitmap(new Blob([frame.data], { type: "image/jpeg" }));
    return new Promise((resolve) => this.decodeVideo(frame, { resolve }));
  }

  /** Forgets what is being decoded: another world begins. */
  reset(): void {
    this.encoder = -1;
    for (const waiting of this.inside.values()) waiting.resolve(null);
    this.inside.clear();
    if (this.video !== null && this.video.state !== "closed") this.video.close();
    this.video = null;
  }

  private decodeVideo(frame: Frame, waiting: Waiting): void {
    const follows = frame.encoder === this.encoder && frame.sequence === this.sequence + 1;
    if ((!frame.key && !follows) || this.inside.size >= INSIDE_MOST) {
      this.encoder = -1;
      waiting.resolve(null);
      this.onLost(false);
      return;
    }
    try {
      if (this.video === null || this.video.state === "closed" || this.config !== frame.config) this.open(frame.config);
      this.encoder = frame.encoder;
      this.sequence = frame.sequence;
      this.inside.set(frame.id, waiting);
      this.video!.decode(
        new EncodedVideoChunk({ type: frame.key ? "key" : "delta", timestamp: frame.id, data: frame.data }),
      );
    } catch {
      this.fail();
    }
  }

  private open(config: string): void {
    this.reset();
    this.config = config;
    this.video = new VideoDecoder({ output: (picture) => this.decoded(picture), error: () => this.fail() });
    // The server's H.264 uses all levels, as JPEG does; Chromium takes it for 16 to 235 unless told, and depth with it.
    const colorSpace = { fullRange: true, matrix: "smpte170m", primaries: "bt709", transfer: "bt709" } as const;
    const told = config.startsWith("avc1") ? { colorSpace } : {};
    this.video.configure({ codec: config, optimizeForLatency: true, ...told });
  }

  private decoded(picture: VideoFrame): void {
    // Pictures come out in the order they went in, so that what is older than this one was swallowed.
    for (const [id, waiting] of this.inside) {
      if (id > picture.timestamp) break;
      this.inside.delete(id);
      if (id === picture.timestamp) {
        waiting.resolve(picture);
        return;
      }
      waiting.resolve(null);
    }
    picture.close();
  }

  private fail(): void {
    this.reset();
    this.onLost(true);
  }
}
