import { describe, expect, it } from "vitest";
import { apart, choose, KEYS_MOST, ordered, type Seen } from "../src/keyframes";
import { poseOf } from "../src/pose";
import { triangles } from "../src/reprojection";

function seen(heading: number, x = 0): Seen {
  return { pose: poseOf({ position: [x, 0, 0], heading, tilt: 0 }), across: 1, near: 2 };
}

describe("a frame that leaves", () => {
  it("is not kept while nothing moves", () => {
    expect(choose([], seen(0), seen(0)).keep).toBe(false);
  });

  it("is kept when the head turns off it, or walks", () => {
    expect(choose([], seen(0), seen(0.3))).toEqual({ keep: true, drop: -1 });
    expect(choose([], seen(0), seen(0, 0.3))).toEqual({ keep: true, drop: -1 });
  });

  it("takes the place of one that shows the same, because the world has moved since", () => {
    expect(choose([seen(1), seen(0.05)], seen(0), seen(0.1))).toEqual({ keep: true, drop: 1 });
  });

  it("drives out the one that stands closest to others", () => {
    const keys = [seen(-1), seen(0), seen(0.45), seen(2)];
    expect(choose(keys, seen(3), seen(3.05))).toEqual({ keep: true, drop: 1 });
  });
});

it("never more than so many stay, and all around is kept after a turn all around", () => {
  let keys: Seen[] = [];
  let newest = seen(0);
  for (let i = 1; i < 400; i++) {
    const next = seen((i / 400) * 2 * Math.PI);
    const { keep, drop } = choose(keys, newest, next);
    keys = keys.filter((_, k) => k !== drop);
    if (keep) keys.push(newest);
    newest = next;
    expect(keys.length).toBeLessThanOrEqual(KEYS_MOST);
  }
  for (const key of keys) for (const other of keys) if (key !== other) expect(apart(key, other)).toBeGreaterThan(0.9);
});

it("the most alike comes first", () => {
  expect(ordered([seen(1), seen(-0.2), seen(0.5)], seen(0))).toEqual([1, 2, 0]);
});

it("triangles cover the whole grid at any stride, within its vertices", () => {
  for (const stride of [1, 2, 3, 5]) {
    const [columns, rows] = [7, 5];
    let area = 0;
    const list = triangles([columns, rows], stride);
    for (let i = 0; i < list.length; i += 3) {
      const [a, b, c] = [0, 1, 2].map((k) => [list[i + k]! % columns, Math.floor(list[i + k]! / columns)] as const);
      area += Math.abs((b![0] - a![0]) * (c![1] - a![1]) - (c![0] - a![0]) * (b![1] - a![1])) / 2;
    }
    expect(area).toBe((columns - 1) * (rows - 1));
    expect(Math.max(...list)).toBe(columns * rows - 1);
  }
});
