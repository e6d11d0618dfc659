// Who else is here: names, heads and hands, whom one has muted or blocked. It does not know how they are drawn.

import type { Vector } from "./pose";
import type { Head, Person } from "./protocol";

/** How fast a shown head comes to where it was last told to be, seconds. */
const EASE_SECONDS = 0.08;
/** A head that was not told of for this long is not shown: its person went or looks at a menu. */
const GONE_SECONDS = 10;

export interface Figure {
  id: number;
  name: string;
  /** In the world: metres, and a quaternion xyzw. */
  position: Vector;
  turn: readonly [number, number, number, number];
  hands: readonly Vector[];
}

interface Known {
  told: Figure;
  shown: Figure;
  at: number;
}

export class People {
  list: Person[] = [];
  you = -1;
  readonly muted = new Set<number>();
  /** Names of those one has blocked: the server lists them no more. */
  readonly blocked = new Map<number, string>();
  private readonly heads = new Map<number, Known>();
  private steppedAt = 0;

  /** Another world: nobody of the last one is here. */
  begin(you: number): void {
    this.you = you;
    this.list = [];
    this.heads.clear();
    this.muted.clear();
    this.blocked.clear();
  }

  /** Everyone who is here now; gives those who came and those who left. */
  set(list: Person[]): { came: Person[]; left: Person[] } {
    const before = this.list;
    this.list = list;
    const ids = new Set(list.map(({ id }) => id));
    for (const id of this.heads.keys()) if (!ids.has(id)) this.heads.delete(id);
    const known = new Set(before.map(({ id }) => id));
    return {
      came: before.length ? list.filter(({ id }) => !known.has(id) && id !== this.you) : [],
      left: before.filter(({ id }) => !ids.has(id) && !this.blocked.has(id)),
    };
  }

  get others(): Person[] {
    return this.list.filter(({ id }) => id !== this.you);
  }

  get hosting(): boolean {
    return this.list.some(({ id, host }) => host && id === this.you);
  }

  /** The latest heads at `now` seconds; of each the latest wins. */
  see(heads: Head[], now: number): void {
    for (const { id, position, turn, hands } of heads) {
      const told: Figure = { id, name: this.name(id), position, turn, hands: triples(hands) };
      const known = this.heads.get(id);
      this.heads.set(id, { told, shown: known && now - known.at < 1 ? known.shown : told, at: now });
    }
  }

  /** Where everyone's head is shown at `now` seconds. */
  figures(now: number): Figure[] {
    const rest = Math.exp(-Math.min(1, Math.max(0, now - this.steppedAt)) / EASE_SECONDS);
    this.steppedAt = now;
    const found: Figure[] = [];
    for (const [id, known] of this.heads) {
      if (now - known.at > GONE_SECONDS) continue;
      known.shown = between(known.told, known.shown, rest, this.name(id));
      found.push(known.shown);
    }
    return found;
  }

  name(id: number): string {
    const person = this.list.find((person) => person.id === id);
    return person?.name || `Guest ${id}`;
  }
}

/** A figure on its way: `rest` of the difference to where it was shown is left. */
function between(told: Figure, shown: Figure, rest: number, name: string): Figure {
  const mix = (to: Vector, from: Vector) => to.map((value, i) => value + (from[i]! - value) * rest) as unknown as Vector;
  const sign = told.turn.reduce((sum, value, i) => sum + value * shown.turn[i]!, 0) < 0 ? -1 : 1;
  const turn = told.turn.map((value, i) => value + (sign * shown.turn[i]! - value) * rest);
  const length = Math.hypot(...turn) || 1;
  return {
    id: told.id,
    name,
    position: mix(told.position, shown.position),
    turn: turn.map((value) => value / length) as unknown as Figure["turn"],
    hands: told.hands.map((hand, i) => (shown.hands[i] ? mix(hand, shown.hands[i]!) : hand)),
  };
}

function triples(numbers: readonly number[]): Vector[] {
  return Array.from({ length: Math.floor(numbers.length / 3) }, (_, i) => numbers.slice(3 * i, 3 * i + 3) as unknown as Vector);
}

/** A colour of its own for each person: hue in turns, by the golden ratio. */
export function hueOf(id: number): number {
  return (id * 0.618034) % 1;
}
