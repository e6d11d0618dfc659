// Which past frames stay behind the newest one, so that what has been seen is there when the head turns back.

import { angleBetween, distance, positionOf, type Matrix } from "./pose";

export const KEYS_MOST = 4;
/** Frames closer than this share of the picture's own angle, or of its nearest depth, show the same. */
const ANGLE_SHARE = 0.4;
const PLACE_SHARE = 0.35;

export interface Seen {
  /** Camera to world. */
  pose: Matrix;
  /** Radians across the picture. */
  across: number;
  /** Metres to what is usually near. */
  near: number;
}

/** What happens to the frame that a newer one takes the place of. */
export interface Choice {
  keep: boolean;
  /** Index of the key frame that goes, or −1. */
  drop: number;
}

/** How much another view `b` has become than `a` was: 1 is enough to be worth keeping both. */
export function apart(a: Seen, b: Seen): number {
  const angle = angleBetween(a.pose, b.pose) / (ANGLE_SHARE * a.across);
  const place = distance(positionOf(a.pose), positionOf(b.pose)) / (PLACE_SHARE * a.near);
  return Math.max(angle, place);
}

/**
 * `leaving` was the newest frame and `newest` is now. It stays when the view has begun to move off it; it takes the
 * place of a key frame that shows about the same, because the world has moved since, or else of the one least needed:
 * the one nearest to its neighbours.
 */
export function choose(keys: readonly Seen[], leaving: Seen, newest: Seen, most = KEYS_MOST): Choice {
  if (apart(leaving, newest) < 0.02) return { keep: false, drop: -1 };
  const nearest = leastBy(keys, (key) => apart(key, leaving));
  if (nearest >= 0 && apart(keys[nearest]!, leaving) < 1) return { keep: true, drop: nearest };
  if (keys.length < most) return { keep: true, drop: -1 };
  const crowded = leastBy(keys, (key) => {
    const others = [...keys.filter((other) => other !== key), leaving];
    return Math.min(...others.map((other) => apart(other, key)));
  });
  return { keep: true, drop: crowded };
}

/** Key frames in the order in which they should show: most like the view first. Indices into `keys`. */
export function ordered(keys: readonly Seen[], view: Seen): number[] {
  return keys.map((_, i) => i).sort((a, b) => apart(keys[a]!, view) - apart(keys[b]!, view));
}

function leastBy<T>(items: readonly T[], cost: (item: T) => number): number {
  let best = -1;
  let least = Infinity;
  items.forEach((item, i) => {
    const value = cost(item);
    if (value < least) [best, least] = [i, value];
  });
  return best;
}
