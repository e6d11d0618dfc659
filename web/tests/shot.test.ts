import { describe, expect, it } from "vitest";
import { distance, poseOf, type Stand } from "../src/pose";
import { lookFrom, Shot, standAt, type Told } from "../src/shot";

const BASE: Stand = { position: [1, 2, 5], heading: 0.3, tilt: -0.2 };

/** What the server does with a look, row by row. */
function frame(base: Stand, look: Told): Float32Array {
  const heading = base.heading + look.yaw;
  const [c, s] = [Math.cos(heading), Math.sin(heading)];
  const [x, y, z] = look.offset;
  const position = [base.position[0] + c * x + s * z, base.position[1] + y, base.position[2] + c * z - s * x] as const;
  const pose = poseOf({ position, heading, tilt: base.tilt + look.pitch });
  return Float32Array.from({ length: 16 }, (_, i) => pose[4 * (i % 4) + Math.floor(i / 4)]!);
}

const NOTHING: Told = { yaw: 0, pitch: 0, offset: [0, 0, 0] };

describe("the shot", () => {
  it("is where the first frame says", () => {
    const shot = new Shot();
    shot.see(frame(BASE, NOTHING), 0, 1);
    expect(distance(shot.at(1).position, BASE.position)).toBeLessThan(1e-5);
    expect(shot.at(1).heading).toBeCloseTo(BASE.heading, 5);
  });

  it("does not move when the person does, however late the frames are", () => {
    const shot = new Shot();
    shot.see(frame(BASE, NOTHING), 0, 0);
    const looks = Array.from({ length: 20 }, (_, i): Told => ({ yaw: 0.05 * i, pitch: -0.01 * i, offset: [0.02 * i, 0, 0] }));
    looks.forEach((look, i) => {
      shot.tell(look);
      shot.see(frame(BASE, looks[Math.max(0, i - 4)]!), 10 * (i + 1), 0.04 * (i + 1));
      expect(shot.at(0.04 * (i + 1)).heading).toBeCloseTo(BASE.heading, 4);
      expect(distance(shot.at(0.04 * (i + 1)).position, BASE.position)).toBeLessThan(1e-4);
    });
  });

  it("goes on between frames and does not jump at any when it orbits", () => {
    const shot = new Shot();
    let last = NaN;
    for (let i = 0; i < 60; i++) {
      const now = i / 24;
      shot.see(frame({ ...BASE, heading: 0.14 * now }, NOTHING), 10 * i, now);
      for (let k = 0; k < 4; k++) {
        const { heading } = shot.at(now + k / 96);
        if (i > 3) expect(Math.abs(heading - last)).toBeLessThan(0.14 / 40);
        last = heading;
      }
    }
    expect(last).toBeCloseTo((0.14 * (59 + 0.75)) / 24, 2);
    expect(shot.moves).toBe(true);
  });

  it("never jumps when a frame comes, even if the guess was wrong", () => {
    const shot = new Shot();
    shot.see(frame(BASE, NOTHING), 0, 0);
    shot.see(frame({ ...BASE, heading: BASE.heading + 0.1 }, NOTHING), 10, 0.05);
    expect(shot.at(0.05).heading).toBeCloseTo(BASE.heading, 5);
    expect(Math.abs(shot.at(0.06).heading - BASE.heading)).toBeLessThan(0.05);
  });

  it("cuts where the film does", () => {
    const shot = new Shot();
    shot.see(frame(BASE, NOTHING), 0, 0);
    shot.see(frame({ ...BASE, heading: BASE.heading + 2 }, NOTHING), 10, 0.05);
    expect(shot.at(0.05).heading).toBeCloseTo(BASE.heading + 2, 5);
  });
});

it("what is told brings the server's camera to where one stands", () => {
  const stand: Stand = { position: [4, 1, -2], heading: -1, tilt: 0.3 };
  const told = lookFrom(BASE, stand);
  const shot = new Shot();
  shot.see(frame(BASE, told), 0, 0);
  expect(shot.at(0).heading).toBeCloseTo(-1, 5);
  expect(distance(shot.at(0).position, stand.position)).toBeLessThan(1e-5);
});

it("a person stands at the shot, turned and walked in its own axes", () => {
  const stand = standAt({ position: [0, 1, 0], heading: Math.PI / 2, tilt: 0 }, 0.2, 0.1, [0, 0, -2]);
  stand.position.forEach((value, i) => expect(value).toBeCloseTo([-2, 1, 0][i]!, 6));
  expect(stand.heading).toBeCloseTo(Math.PI / 2 + 0.2);
  expect(standAt(BASE, 0, 9, [0, 0, 0]).tilt).toBeLessThan(Math.PI / 2);
});
