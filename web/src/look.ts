// Where the person looks: mouse, touch, keys and gamepad become yaw, pitch and a place. It does not know who is told.

import { turned, wrap, type Vector } from "./pose";
import type { Told } from "./shot";

const TURN_PER_WIDTH = 1.6; // radians for a drag across the picture
const TURN_SPEED = 1.1; // radians a second while an arrow key is down
const PITCH_MOST = 1.4;
const STEP_MOST = 0.1; // seconds; a tab that slept does not run
const DEAD = 0.15; // of a stick's way, in which it rests

const MOVES: Record<string, Vector> = {
  KeyW: [0, 0, -1],
  KeyS: [0, 0, 1],
  KeyA: [-1, 0, 0],
  KeyD: [1, 0, 0],
  KeyE: [0, 1, 0],
  KeyQ: [0, -1, 0],
};
const TURNS: Record<string, [number, number]> = {
  ArrowLeft: [1, 0],
  ArrowRight: [-1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

export class Look {
  yaw = 0;
  pitch = 0;
  /** Metres walked from where the shot stands: right, up and back in the shot's own axes. */
  place: Vector = [0, 0, 0];
  /** Metres a second: worlds differ in size. */
  pace = 1;
  private readonly held = new Set<string>();
  private readonly fingers = new Set<number>();
  private changed = false;
  private steppedAt = 0;

  /** Listens to hands on `element`, and to all keys that are not typed into a field. */
  listen(element: HTMLElement): void {
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      element.classList.add("held");
      this.fingers.add(event.pointerId);
    });
    for (const end of ["pointerup", "pointercancel"] as const) {
      element.addEventListener(end, (event) => {
        this.fingers.delete(event.pointerId);
        if (this.fingers.size === 0) element.classList.remove("held");
      });
    }
    element.addEventListener("pointermove", (event) => {
      if (!element.hasPointerCapture(event.pointerId)) return;
      this.drag(event.movementX / element.clientWidth, event.movementY / element.clientWidth, this.fingers.size);
    });
    addEventListener("keydown", (event) => this.press(event));
    addEventListener("keyup", (event) => this.held.delete(event.code));
    addEventListener("blur", () => this.held.clear());
  }

  /** Back to where the shot looks. */
  reset(): void {
    this.yaw = this.pitch = 0;
    this.place = [0, 0, 0];
    this.changed = true;
  }

  /** Fingers went so far, in widths of the picture: one turns, two walk. */
  drag(x: number, y: number, fingers: number): void {
    if (fingers < 2) this.turn(x * TURN_PER_WIDTH, y * TURN_PER_WIDTH);
    else this.move([-x, 0, -y], 2 * this.pace); // each of two fingers tells its own way
  }

  /** Applies the keys and sticks held until `now` seconds. */
  step(now: number, pads: readonly (Gamepad | null)[] = []): void {
    const seconds = Math.min(STEP_MOST, Math.max(0, now - this.steppedAt));
    this.steppedAt = now;
    for (const code of this.held) {
      const turn = TURNS[code];
      if (turn) this.turn(turn[0] * TURN_SPEED * seconds, turn[1] * TURN_SPEED * seconds);
      const move = MOVES[code];
      if (move) this.move(move, this.pace * seconds);
    }
    for (const pad of pads) if (pad?.connected && pad.mapping === "standard") this.steer(pad, seconds);
  }

  /** What to tell the server, or null when nothing changed since the last time. */
  news(): Told | null {
    if (!this.changed) return null;
    this.changed = false;
    return this.told;
  }

  /** The server takes offsets in axes that turn with the head; the person stays where the feet are. */
  get told(): Told {
    return { yaw: this.yaw, pitch: this.pitch, offset: turned(this.place, -this.yaw) };
  }

  private press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || takesText(event.target)) return;
    if (event.code === "KeyR") this.reset();
    if (event.code in MOVES || event.code in TURNS) {
      this.held.add(event.code);
      event.preventDefault();
    }
  }

  private steer(pad: Gamepad, seconds: number): void {
    const [x = 0, y = 0, turn = 0, tilt = 0] = pad.axes.map(rested);
    if (x || y) this.move([x, 0, y], this.pace * seconds);
    if (turn || tilt) this.turn(-turn * TURN_SPEED * seconds, -tilt * TURN_SPEED * seconds);
    const rise = (pad.buttons[7]?.value ?? 0) - (pad.buttons[6]?.value ?? 0);
    if (rise) this.move([0, rise, 0], this.pace * seconds);
    if (pad.buttons[3]?.pressed) this.reset();
  }

  private turn(yaw: number, pitch: number): void {
    this.yaw = wrap(this.yaw + yaw);
    this.pitch = Math.max(-PITCH_MOST, Math.min(PITCH_MOST, this.pitch + pitch));
    this.changed = true;
  }

  private move(direction: Vector, distance: number): void {
    const [x, y, z] = turned(direction, this.yaw);
    this.place = [this.place[0] + x * distance, this.place[1] + y * distance, this.place[2] + z * distance];
    this.changed = true;
  }
}

/** A stick's way without the little that it has when nobody touches it. */
export function rested(value: number): number {
  return Math.abs(value) < DEAD ? 0 : (value - Math.sign(value) * DEAD) / (1 - DEAD);
}

/** Whether what has the focus takes the keys for itself. */
export function takesText(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, select, textarea") !== null;
}
