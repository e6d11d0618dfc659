// Where the server's shot stands now, from the poses of its frames: they hold the shot and what a person added to it.
//
// A frame does not say which of the sent looks it was made for. Taken off the pose, the right look leaves a shot that
// goes on smoothly, the wrong ones do not. This file does not know what is drawn.

import { add, distance, fromRows, standOf, turned, wrap, type Stand, type Vector } from "./pose";

/** What the server is told: radians from the shot, and metres to the right, up and back of the turned head. */
export interface Told {
  yaw: number;
  pitch: number;
  offset: Vector;
}

const NOTHING: Told = { yaw: 0, pitch: 0, offset: [0, 0, 0] };
const TOLD_MOST = 90;
const EASE_SECONDS = 0.12;
const AHEAD_SECONDS = 0.2;
const TICKS_PER_SECOND = 240;
/** A jump of the shot beyond this many radians, or seconds of walking, is a cut and not a motion. */
const CUT = 0.6;

interface Motion {
  velocity: Vector;
  turning: number;
  tilting: number;
}

const STILL: Motion = { velocity: [0, 0, 0], turning: 0, tilting: 0 };

export class Shot {
  /** Metres a second of a walker: what is far and what is near in this world. */
  pace = 1;
  private told: Told[] = [NOTHING];
  private seen: { stand: Stand; tick: number; at: number } | null = null;
  private motion = STILL;
  private error: Stand = { position: [0, 0, 0], heading: 0, tilt: 0 };

  get known(): boolean {
    return this.seen !== null;
  }

  /** Another world begins. */
  restart(pace: number): void {
    this.pace = Math.max(pace, 1e-3);
    this.told = [this.told.at(-1)!];
    this.seen = null;
    this.motion = STILL;
  }

  /** A look was sent; a frame that comes later may be made for it. */
  tell(look: Told): void {
    this.told.push(look);
    if (this.told.length > TOLD_MOST) this.told.shift();
  }

  /** Somebody else's looks are in the frames: ride along with what is seen. */
  ride(): void {
    this.told = [NOTHING];
  }

  /** A frame of `rows` camera to world, made for `tick`, arrived at `now` seconds. */
  see(rows: ArrayLike<number>, tick: number, now: number): void {
    const camera = standOf(fromRows(rows));
    const elapsed = this.seen ? (tick - this.seen.tick) / TICKS_PER_SECOND : 0;
    const expected = this.seen ? moved(this.seen.stand, this.motion, Math.min(Math.max(elapsed, 0), 1)) : null;
    const stand = this.choose(camera, expected);
    const shown = this.seen ? this.at(now) : stand;
    if (this.seen && elapsed > 0) this.motion = this.follow(this.seen.stand, stand, elapsed);
    this.seen = { stand, tick, at: now };
    this.error = this.strangeness(stand, shown) > CUT ? difference(stand, stand) : difference(shown, stand);
  }

  /** The shot at `now` seconds: it never jumps but where the film is cut. */
  at(now: number): Stand {
    if (!this.seen) return { position: [0, 0, 0], heading: 0, tilt: 0 };
    const since = Math.max(0, now - this.seen.at);
    const ahead = moved(this.seen.stand, this.motion, Math.min(since, AHEAD_SECONDS));
    const rest = Math.exp(-since / EASE_SECONDS);
    return {
      position: add(ahead.position, this.error.position, rest),
      heading: ahead.heading + this.error.heading * rest,
      tilt: ahead.tilt + this.error.tilt * rest,
    };
  }

  /** Whether the shot moves of itself, so that a still head sees another picture next time. */
  get moves(): boolean {
    const { velocity, turning, tilting } = this.motion;
    return Math.hypot(...velocity) > 1e-3 * this.pace || Math.abs(turning) + Math.abs(tilting) > 1e-3;
  }

  private choose(camera: Stand, expected: Stand | null): Stand {
    const stands = this.told.map((look) => without(camera, look));
    if (!expected) return stands.at(-1)!;
    let best = 0;
    stands.forEach((stand, i) => {
      if (this.strangeness(stand, expected) < this.strangeness(stands[best]!, expected) - 1e-6) best = i;
    });
    this.told.splice(0, best); // looks are applied in order: earlier ones are past
    return stands[best]!;
  }

  private strangeness(a: Stand, b: Stand): number {
    const angles = Math.abs(wrap(a.heading - b.heading)) + Math.abs(a.tilt - b.tilt);
    return angles + distance(a.position, b.position) / (2 * this.pace);
  }

  private follow(from: Stand, to: Stand, elapsed: number): Motion {
    if (this.strangeness(from, to) > CUT) return STILL;
    const step = difference(to, from);
    const mix = (old: number, now: number) => old + 0.35 * (now / elapsed - old);
    const { velocity, turning, tilting } = this.motion;
    return {
      velocity: [0, 1, 2].map((i) => mix(velocity[i]!, step.position[i]!)) as unknown as Vector,
      turning: mix(turning, step.heading),
      tilting: mix(tilting, step.tilt),
    };
  }
}

/** Where one stands who looks so from a shot, in the shot's own level axes: `place` is right, up and back of it. */
export function standAt(shot: Stand, yaw: number, pitch: number, place: Vector): Stand {
  return {
    position: add(shot.position, turned(place, shot.heading)),
    heading: shot.heading + yaw,
    tilt: Math.max(-1.54, Math.min(1.54, shot.tilt + pitch)),
  };
}

/** What to tell the server so that its camera stands at `stand`, while its shot is at `shot`. */
export function lookFrom(shot: Stand, stand: Stand): Told {
  return {
    yaw: wrap(stand.heading - shot.heading),
    pitch: stand.tilt - shot.tilt,
    offset: turned(add(stand.position, shot.position, -1), -stand.heading),
  };
}

function without(camera: Stand, look: Told): Stand {
  return {
    position: add(camera.position, turned(look.offset, camera.heading), -1),
    heading: camera.heading - look.yaw,
    tilt: camera.tilt - look.pitch,
  };
}

function moved(stand: Stand, motion: Motion, seconds: number): Stand {
  return {
    position: add(stand.position, motion.velocity, seconds),
    heading: stand.heading + motion.turning * seconds,
    tilt: stand.tilt + motion.tilting * seconds,
  };
}

function difference(a: Stand, b: Stand): Stand {
  return {
    position: add(a.position, b.position, -1),
    heading: wrap(a.heading - b.heading),
    tilt: a.tilt - b.tilt,
  };
}
