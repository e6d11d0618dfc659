import { describe, expect, it } from "vitest";
import { wrapped } from "../src/comfort";
import { Inputs, SNAP, type Source } from "../src/inputs";
import { Look, rested } from "../src/look";
import { positionOf, poseOf, standOf } from "../src/pose";
import { Rig } from "../src/rig";

function source(handedness: string, x: number, y: number, pressed: number[] = []): Source {
  const buttons = Array.from({ length: 6 }, (_, i) => ({ pressed: pressed.includes(i) }));
  return { handedness, gamepad: { axes: [0, 0, x, y], buttons } };
}

describe("controllers", () => {
  it("move with the left stick, by time", () => {
    const wish = new Inputs().read([source("left", 0, -1), source("right", 0, 0)], 0.5);
    expect(wish.move[2]).toBeCloseTo(-0.5);
    expect(wish.turn).toBe(0);
  });

  it("snap once for each time the stick goes over", () => {
    const inputs = new Inputs();
    const right = source("right", 1, 0) as { handedness: string; gamepad: { axes: number[]; buttons: [] } };
    const turns = [1, 1, 0.5, 0, 1].map((x) => {
      right.gamepad.axes = [0, 0, x, 0];
      return inputs.read([source("left", 0, 0), right], 0.01).turn;
    });
    expect(turns).toEqual([-SNAP, 0, 0, 0, -SNAP]);
  });

  it("turn smoothly when asked to", () => {
    const inputs = new Inputs();
    inputs.smooth = true;
    const wish = inputs.read([source("right", -1, 0)], 0.1);
    expect(wish.turn).toBeGreaterThan(0.05);
    expect(wish.turning).toBe(true);
  });

  it("leave with B or Y, or with both hands held closed", () => {
    expect(new Inputs().read([source("left", 0, 0, [5])], 0.01).leave).toBe(true);
    const inputs = new Inputs();
    const closed = [source("left", 0, 0, [1]), source("right", 0, 0, [1])];
    expect(inputs.read(closed, 0.3).leave).toBe(false);
    expect(inputs.read(closed, 0.4).leave).toBe(true);
  });

  it("return once for a press", () => {
    const inputs = new Inputs();
    const [held] = [source("right", 0, 0, [4])];
    expect([1, 2].map(() => inputs.read([held!], 0.01).recentre)).toEqual([true, false]);
  });
});

it("two quick pinches return, slow ones do not", () => {
  const inputs = new Inputs();
  expect([0, 1, 1.2, 1.4].map((now) => inputs.pinch(now))).toEqual([false, false, true, false]);
});

describe("the floor", () => {
  const head = poseOf({ position: [0.3, 1.6, -0.2], heading: 0.5, tilt: 0.2 });
  const shot = { position: [10, 3, 4], heading: -1, tilt: -0.6 } as const;

  it("puts the head at the shot, level", () => {
    const rig = new Rig();
    rig.recentre(head, shot, true);
    const world = standOf(rig.toWorld(head));
    world.position.forEach((value, i) => expect(value).toBeCloseTo(shot.position[i]!, 5));
    expect(world.heading).toBeCloseTo(-1, 5);
    expect(world.tilt).toBeCloseTo(0.2, 5);
  });

  it("stands on the world's ground when the person stands", () => {
    const rig = new Rig();
    rig.recentre(head, shot, false);
    expect(positionOf(rig.toWorld(head))[1]).toBeCloseTo(1.6, 5);
  });

  it("turns about the head", () => {
    const rig = new Rig();
    rig.recentre(head, shot, true);
    rig.turn(SNAP, head);
    const world = standOf(rig.toWorld(head));
    world.position.forEach((value, i) => expect(value).toBeCloseTo(shot.position[i]!, 5));
    expect(world.heading).toBeCloseTo(-1 + SNAP, 5);
  });

  it("moves where the head looks", () => {
    const rig = new Rig();
    rig.recentre(head, { ...shot, heading: 0 }, true);
    rig.move([0, 0, -2], head);
    expect(positionOf(rig.toWorld(head))[2]).toBeCloseTo(2, 5);
  });
});

describe("the flat screen's hands", () => {
  it("tell offsets in axes that turn with the head", () => {
    const look = new Look();
    look.drag(0.5, 0, 1);
    look.drag(0, -0.25, 2);
    const { yaw, offset } = look.told;
    expect(yaw).toBeCloseTo(0.8);
    [0, 0, 0.5].forEach((value, i) => expect(offset[i]).toBeCloseTo(value));
    expect(look.news()).not.toBeNull();
    expect(look.news()).toBeNull();
  });

  it("do nothing while a stick rests", () => {
    expect(rested(0.1)).toBe(0);
    expect(rested(-1)).toBe(-1);
  });
});

it("words break into lines that fit", () => {
  expect(wrapped("one two three four", (line) => line.length <= 8)).toEqual(["one two", "three", "four"]);
});
