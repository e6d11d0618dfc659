// The world around a person in a headset, for as long as the person wants: prompts and reconnects do not end it.

import { Comfort } from "./comfort";
import { Inputs } from "./inputs";
import { add, halfSide, positionOf, standOf, turned, type Matrix, type Vector } from "./pose";
import type { Eye } from "./reprojection";
import { Rig } from "./rig";
import { lookFrom, type Shot, type Told } from "./shot";
import type { Stage } from "./stage";

/** Metres. What is nearer than the first is not drawn; nothing is farther than the second. */
const [NEAR, FAR] = [0.05, 20_000];
const STEP_MOST = 0.1;
/** Radians asked for on each side beyond what the eyes see: a quick turn of the head in a tenth of a second. */
const WIDER = 0.17;
const ACROSS_MOST = 2.1;

export class Headset {
  seated = true;
  onChange: (inside: boolean) => void = () => {};
  private session: XRSession | null = null;
  private space: XRReferenceSpace | null = null;
  private readonly rig = new Rig();
  private readonly inputs = new Inputs();
  private readonly comfort: Comfort;
  private placed = false;
  private head: Matrix | null = null;
  private drawnAt = 0;
  /** Radians across a picture, as wide as it is high, that holds what both eyes see and a margin around it. */
  across = 0;
  private hands: Vector[] = [];
  private pulled: { source: XRInputSource; from: Vector } | null = null;

  constructor(
    private readonly stage: Stage,
    private readonly shot: Shot,
    gentle: boolean,
  ) {
    this.comfort = new Comfort(stage.gl, gentle);
  }

  /** Whether this browser can show a world all around. */
  static async possible(): Promise<boolean> {
    try {
      return (await navigator.xr?.isSessionSupported("immersive-vr")) ?? false;
    } catch {
      return false;
    }
  }

  get inside(): boolean {
    return this.session !== null;
  }

  set smoothTurn(on: boolean) {
    this.inputs.smooth = on;
  }

  /** Goes in; must be called by a person's own hand. */
  async enter(): Promise<void> {
    if (this.session || !navigator.xr) return;
    const session = await navigator.xr.requestSession("immersive-vr", {
      requiredFeatures: ["local-floor"],
      optionalFeatures: ["hand-tracking"],
    });
    const { gl } = this.stage;
    await (gl as unknown as { makeXRCompatible(): Promise<void> }).makeXRCompatible();
    this.space = await session.requestReferenceSpace("local-floor");
    this.space.addEventListener("reset", () => this.recentre());
    this.stage.paused = true;
    const baseLayer = new XRWebGLLayer(session, gl, { antialias: false, stencil: false });
    await session.updateRenderState({ baseLayer, depthNear: NEAR, depthFar: FAR });
    session.addEventListener("end", () => this.ended());
    session.addEventListener("selectstart", (event) => this.pinched(event));
    session.addEventListener("selectend", () => (this.pulled = null));
    this.session = session;
    this.placed = false;
    this.drawnAt = performance.now() / 1e3;
    session.requestAnimationFrame(this.frame);
    this.onChange(true);
  }

  /** Goes out at once, whatever is happening. */
  leave(): void {
    void this.session?.end().catch(() => this.ended());
  }

  /** Puts the person back where the shot stands. */
  recentre(): void {
    this.placed = false;
  }

  /** Words in the world, for `seconds`. */
  say(text: string, seconds = 5): void {
    this.comfort.say(text, performance.now() / 1e3 + seconds);
  }

  set stalled(on: boolean) {
    this.comfort.stalled = on;
  }

  /** What to tell the server about where the head is; null outside. */
  news(now: number): Told | null {
    if (!this.session || !this.head || !this.placed) return null;
    return lookFrom(this.shot.at(now), standOf(this.rig.toWorld(this.head)));
  }

  /** Where the head is in the world, null outside; and the hands. */
  get body(): { head: Matrix; hands: readonly Vector[] } | null {
    return this.session && this.head && this.placed ? { head: this.rig.toWorld(this.head), hands: this.hands } : null;
  }

  private seenHands(session: XRSession, frame: XRFrame): Vector[] {
    const hands: Vector[] = [];
    for (const source of session.inputSources) {
      const pose = source.gripSpace && this.space && frame.getPose(source.gripSpace, this.space);
      if (pose && hands.length < 2) hands.push(positionOf(this.rig.toWorld(pose.transform.matrix)));
    }
    return hands;
  }

  private readonly frame = (_time: number, frame: XRFrame): void => {
    const { session } = this;
    if (!session) return;
    session.requestAnimationFrame(this.frame);
    const pose = this.space && frame.getViewerPose(this.space);
    const layer = session.renderState.baseLayer;
    if (!pose || !layer) return; // the headset does not know where it is: it shows its own waiting room
    const start = performance.now();
    const now = start / 1e3;
    const seconds = Math.min(STEP_MOST, now - this.drawnAt);
    this.drawnAt = now;
    const head = pose.transform.matrix;
    this.head = head;
    if (!this.placed && this.shot.known) {
      this.rig.recentre(head, this.shot.at(now), this.seated);
      this.placed = true;
    }
    this.obey(session, frame, head, seconds);
    const eyes: Eye[] = [];
    for (const view of pose.views) {
      const { x, y, width, height } = layer.getViewport(view)!;
      if (width === 0) continue;
      const viewport = [x, y, width, height] as const;
      eyes.push({ viewport, projection: view.projectionMatrix, pose: this.rig.toWorld(view.transform.matrix) });
    }
    this.across = Math.min(ACROSS_MOST, 2 * (Math.max(...eyes.map(({ projection }) => halfSide(projection))) + WIDER));
    this.hands = this.seenHands(session, frame);
    this.stage.reprojection.draw(eyes, layer.framebuffer, this.stage.style, this.stage.people());
    this.comfort.step(now, seconds, head);
    this.comfort.draw(eyes, (room) => this.rig.toWorld(room), head);
    this.stage.cost.milliseconds = performance.now() - start;
    this.stage.cost.pictures += 1;
  };

  private obey(session: XRSession, frame: XRFrame, head: Matrix, seconds: number): void {
    const wish = this.inputs.read([...session.inputSources], seconds);
    const walked = wish.move.some((part) => part !== 0);
    if (walked) this.rig.move(wish.move.map((part) => part * this.shot.pace) as unknown as Vector, head);
    if (wish.turn) this.rig.turn(wish.turn, head);
    const pulling = this.pull(frame);
    this.comfort.moving = walked || wish.turning || pulling;
    if (wish.recentre) this.recentre();
    if (wish.leave) this.leave();
  }

  /** A pinching hand holds the world: the person goes the other way, in the world's own measure. */
  private pull(frame: XRFrame): boolean {
    if (!this.pulled) return false;
    const at = this.handOf(this.pulled.source, frame);
    if (!at) return false;
    const by = add(this.pulled.from, at, -1);
    this.pulled.from = at;
    const gain = Math.max(1, 2 * this.shot.pace);
    this.rig.origin = add(this.rig.origin, turned(by, this.rig.heading), gain);
    return Math.hypot(...by) > 1e-4;
  }

  private pinched(event: XRInputSourceEvent): void {
    const { inputSource, frame } = event;
    if ((inputSource.gamepad?.axes.length ?? 0) >= 2) return; // a controller has a stick for that
    if (this.inputs.pinch(performance.now() / 1e3)) this.recentre();
    const from = this.handOf(inputSource, frame);
    this.pulled = from && { source: inputSource, from };
  }

  private handOf(source: XRInputSource, frame: XRFrame): Vector | null {
    const pose = this.space && frame.getPose(source.gripSpace ?? source.targetRaySpace, this.space);
    return pose ? positionOf(pose.transform.matrix) : null;
  }

  private ended(): void {
    if (!this.session) return;
    this.session = this.space = this.head = this.pulled = null;
    this.stage.resume();
    this.onChange(false);
  }
}
