// What controllers and pinching hands ask for. It does not know how the world is shown.

import { rested } from "./look";
import type { Vector } from "./pose";

export const SNAP = Math.PI / 6;
const SMOOTH_SPEED = 1.2; // radians a second
const [LOUD, QUIET] = [0.7, 0.35]; // a stick that goes beyond the first snaps once, until it is back within the second
const PANIC_SECONDS = 0.6;
const DOUBLE_SECONDS = 0.4;

/** What one picture's worth of input amounts to. Turns are radians to the left; moves are in walkers' seconds. */
export interface Wish {
  move: Vector;
  turn: number;
  /** Turned little by little, by a stick. */
  turning: boolean;
  recentre: boolean;
  leave: boolean;
}

/** As much of an XRInputSource as is needed. */
export interface Source {
  readonly handedness: string;
  readonly gamepad?: { readonly axes: readonly number[]; readonly buttons: readonly { readonly pressed: boolean }[] } | null;
}

export class Inputs {
  smooth = false;
  private snapped = new Set<Source>();
  private pressed = new Map<Source, boolean[]>();
  private squeezed = 0;
  private pinches: number[] = [];

  /** The wishes of `sources` over the last `seconds`. */
  read(sources: readonly Source[], seconds: number): Wish {
    const wish: Wish = { move: [0, 0, 0], turn: 0, turning: false, recentre: false, leave: false };
    const held = sources.filter((source) => source.gamepad && source.gamepad.axes.length >= 2);
    for (const source of held) this.readOne(source, held.length === 1, seconds, wish);
    const squeezing = held.length > 1 && held.every((source) => source.gamepad!.buttons[1]?.pressed);
    this.squeezed = squeezing ? this.squeezed + seconds : 0;
    wish.leave ||= this.squeezed > PANIC_SECONDS;
    return wish;
  }

  /** A hand pinched at `now` seconds; says whether that was the second of two quick ones. */
  pinch(now: number): boolean {
    this.pinches = [...this.pinches.filter((at) => now - at < DOUBLE_SECONDS), now];
    if (this.pinches.length < 2) return false;
    this.pinches = [];
    return true;
  }

  private readOne(source: Source, alone: boolean, seconds: number, wish: Wish): void {
    const { axes, buttons } = source.gamepad!;
    const [x, y] = (axes.length >= 4 ? axes.slice(2, 4) : axes).map(rested) as [number, number];
    const turns = alone || source.handedness === "right";
    const walks = alone || source.handedness !== "right";
    if (walks) {
      wish.move = [wish.move[0] + (turns ? 0 : x * seconds), wish.move[1], wish.move[2] + y * seconds];
    } else {
      wish.move = [wish.move[0], wish.move[1] - y * seconds, wish.move[2]];
    }
    if (turns) this.readTurn(source, x, seconds, wish);
    const before = this.pressed.get(source) ?? [];
    const now = buttons.map((button) => button.pressed);
    this.pressed.set(source, now);
    const struck = (i: number) => now[i] === true && !before[i];
    wish.recentre ||= struck(3) || struck(4);
    wish.leave ||= struck(5);
  }

  private readTurn(source: Source, x: number, seconds: number, wish: Wish): void {
    if (this.smooth) {
      wish.turn -= x * SMOOTH_SPEED * seconds;
      wish.turning ||= x !== 0;
    } else if (Math.abs(x) > LOUD && !this.snapped.has(source)) {
      this.snapped.add(source);
      wish.turn -= Math.sign(x) * SNAP;
    } else if (Math.abs(x) < QUIET) {
      this.snapped.delete(source);
    }
  }
}
