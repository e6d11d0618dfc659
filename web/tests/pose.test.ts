import { describe, expect, it } from "vitest";
import {
  angleBetween,
  fromRows,
  halfAngle,
  invertRigid,
  multiply,
  pinhole,
  poseOf,
  standOf,
  turned,
  wrap,
} from "../src/pose";

const STAND = { position: [1, 2, 3], heading: 0.7, tilt: -0.4 } as const;

describe("poses", () => {
  it("are told apart into heading, tilt and place again", () => {
    const { position, heading, tilt } = standOf(poseOf(STAND));
    position.forEach((value, i) => expect(value).toBeCloseTo(STAND.position[i]!, 6));
    expect(heading).toBeCloseTo(STAND.heading, 6);
    expect(tilt).toBeCloseTo(STAND.tilt, 6);
  });

  it("look along −Z: left turns to −X, up tilts to +Y", () => {
    const left = poseOf({ position: [0, 0, 0], heading: Math.PI / 2, tilt: 0 });
    expect(-left[8]!).toBeCloseTo(-1, 6);
    expect(-poseOf({ position: [0, 0, 0], heading: 0, tilt: 0.5 })[9]!).toBeCloseTo(Math.sin(0.5), 6);
  });

  it("times their inverse are nothing", () => {
    const product = multiply(poseOf(STAND), invertRigid(poseOf(STAND)));
    product.forEach((value, i) => expect(value).toBeCloseTo(i % 5 === 0 ? 1 : 0, 5));
  });

  it("come row by row from the wire", () => {
    const rows = [1, 0, 0, 5, 0, 1, 0, 6, 0, 0, 1, 7, 0, 0, 0, 1];
    expect(standOf(fromRows(rows)).position).toEqual([5, 6, 7]);
  });

  it("tell the angle between them", () => {
    const ahead = poseOf({ position: [0, 0, 0], heading: 0, tilt: 0 });
    expect(angleBetween(ahead, poseOf({ position: [9, 9, 9], heading: 0.3, tilt: 0 }))).toBeCloseTo(0.3, 5);
  });
});

describe("a pinhole's projection", () => {
  it("puts a point where the server's formula does", () => {
    // Pixel (i, j) has the direction ((i − cx) / f, −(j − cy) / f, −1).
    const [f, cx, cy, width, height] = [100, 60, 70, 128, 144];
    const projection = pinhole(f, [cx, cy], width, height, 0.1, 100);
    const [x, y, z] = [0.3, -0.2, -2];
    const w = -z;
    const ndc = [(projection[0]! * x + projection[8]! * z) / w, (projection[5]! * y + projection[9]! * z) / w];
    expect(((ndc[0]! + 1) / 2) * width).toBeCloseTo(cx + (f * x) / w, 4);
    expect(((1 - ndc[1]!) / 2) * height).toBeCloseTo(cy - (f * y) / w, 4);
  });

  it("knows how far it sees", () => {
    expect(halfAngle(pinhole(64, [64, 64], 128, 128, 0.1, 10))).toBeCloseTo(Math.atan(Math.SQRT2), 5);
  });
});

it("angles wrap and vectors turn", () => {
  expect(wrap(3 * Math.PI)).toBeCloseTo(Math.PI, 6);
  turned([0, 0, -1], Math.PI / 2).forEach((value, i) => expect(value).toBeCloseTo([-1, 0, 0][i]!, 6));
});
