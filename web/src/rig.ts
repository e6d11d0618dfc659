// The piece of real floor that a person in a headset brings along, and where in the world it lies.

import { add, multiply, positionOf, standOf, turned, type Matrix, type Stand, type Vector } from "./pose";

export class Rig {
  /** Where the real floor's origin lies in the world, and how far it is turned left. */
  origin: Vector = [0, 0, 0];
  heading = 0;

  /** A pose in the real room, in the world. */
  toWorld(pose: Matrix): Matrix {
    const [c, s] = [Math.cos(this.heading), Math.sin(this.heading)];
    return multiply(Float32Array.of(c, 0, -s, 0, 0, 1, 0, 0, s, 0, c, 0, ...this.origin, 1), pose);
  }

  /**
   * Puts the head where the shot stands, looking where it looks, but level: the horizon is the inner ear's.
   * Standing, the world's ground is the real floor; seated, the eyes are as high as the shot.
   */
  recentre(head: Matrix, shot: Stand, seated: boolean): void {
    const real = standOf(head);
    this.heading = shot.heading - real.heading;
    const [x, y, z] = turned(real.position, this.heading);
    this.origin = [shot.position[0] - x, seated ? shot.position[1] - y : 0, shot.position[2] - z];
  }

  /** Turns left by `angle` about the head, which stays where it is. */
  turn(angle: number, head: Matrix): void {
    const before = turned(positionOf(head), this.heading);
    this.heading += angle;
    this.origin = add(add(this.origin, before), turned(positionOf(head), this.heading), -1);
  }

  /** Moves by metres to the right, up and back of where the head looks, level. */
  move(by: Vector, head: Matrix): void {
    this.origin = add(this.origin, turned(by, this.heading + standOf(head).heading));
  }
}
