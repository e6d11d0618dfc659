// One WebSocket that comes back by itself. It does not know what is drawn.

import { Clock } from "./clock";
import { decodable } from "./decoder";
import { PROTOCOL, readFrame, type Frame, type Words } from "./wire";

export type State = "connecting" | "building" | "live" | "stalled" | "restarting" | "lost";

export interface Request {
  prompt: string | null;
  seed: number | null;
  mode: string | null;
}

interface Listener {
  onState(state: State): void;
  onFrame(frame: Frame): void;
  onWords(words: Words): void;
}

const FIRST_WAIT = 250;
const LONGEST_WAIT = 3000;
const STALL = 1000;
const WORLD_WAIT = 2000;

export class Connection {
  /** The server's clock. */
  readonly clock = new Clock();
  /** Sent with each join: the name for others to see, and whether one only watches. */
  readonly who = { name: "", watch_only: false };
  /** How often frames stayed away for more than a second. */
  stalls = 0;
  private codecs: string[] = ["jpeg"];
  private socket: WebSocket | null = null;
  private wait = FIRST_WAIT;
  private lastFrame = 0;
  private state: State = "connecting";

  constructor(
    private request: Request,
    private readonly listener: Listener,
  ) {
    void decodable().then((codecs) => {
      this.codecs = codecs;
      return this.open();
    });
    setInterval(() => this.watch(), 250);
    setInterval(() => this.askClock(), 2000);
  }

  /** Asks for another world; also what is asked again after a reconnect. */
  join(request: Request): void {
    this.request = request;
    this.lastFrame = 0;
    if (this.send({ type: "join", ...request, ...this.who, codecs: this.codecs })) this.become("building");
  }

  /** Comes in again, as somebody of another name. */
  rejoin(): void {
    this.join(this.request);
  }

  /** What to ask for after a reconnect, when it is not what was asked last. */
  remember(request: Request): void {
    this.request = request;
  }

  /** Asks for a picture that needs no other; `failed` codecs are not asked for again. */
  askKey(failed: boolean): void {
    if (failed) this.codecs = ["jpeg"];
    this.send({ type: "key", codecs: failed ? this.codecs : [] });
  }

  private askClock(): void {
    this.send({ type: "clock", client: performance.now() });
  }

  /** Sends when connected; says whether it was. */
  send(message: object): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  private async open(): Promise<void> {
    try {
      const answer = await fetch("token", { method: "POST" });
      if (!answer.ok) throw new Error(await answer.text());
      const { token } = (await answer.json()) as { token: string };
      const address = new URL("live", location.href);
      address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
      address.search = address.hash = "";
      const socket = new WebSocket(address, [PROTOCOL, `token.${token}`]);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => this.opened(socket);
      socket.onmessage = (event: MessageEvent<ArrayBuffer | string>) => this.received(event.data);
      socket.onclose = () => this.closed();
    } catch {
      this.closed();
    }
  }

  private opened(socket: WebSocket): void {
    this.socket = socket;
    this.wait = FIRST_WAIT;
    this.join(this.request);
    for (let i = 0; i < 3; i++) this.askClock();
  }

  private received(data: ArrayBuffer | string): void {
    if (typeof data === "string") {
      const words = JSON.parse(data) as Words;
      if (words.type === "clock") this.clock.heard(words.client, words.server, performance.now());
      else {
        if (words.type === "news" && words.what !== "event") this.become("restarting");
        if (words.type === "error" && words.code === "world") this.askAgain();
        this.listener.onWords(words);
      }
      return;
    }
    this.lastFrame = performance.now();
    this.become("live");
    this.listener.onFrame(readFrame(data));
  }

  /** A world that came to its end is asked for again: the server opens it anew. */
  private askAgain(): void {
    this.become("restarting");
    setTimeout(() => this.join(this.request), WORLD_WAIT);
  }

  private closed(): void {
    this.socket = null;
    this.become("lost");
    setTimeout(() => void this.open(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }

  private watch(): void {
    if (this.state === "live" && performance.now() - this.lastFrame > STALL) this.become("stalled");
  }

  private become(state: State): void {
    if (state === this.state) return;
    if (state === "stalled") this.stalls += 1;
    this.state = state;
    this.listener.onState(state);
  }
}
