// Poses and projections as 4×4 matrices, column by column as WebGL wants them. Metres, radians, +Y up, −Z ahead.

export type Matrix = Float32Array;
export type Vector = readonly [number, number, number];

/** Where someone stands and which way the eyes point: heading left of −Z, tilt up. */
export interface Stand {
  position: Vector;
  heading: number;
  tilt: number;
}

export const TILT_MOST = 1.54;

/** A matrix that came row by row, as the wire has it. */
export function fromRows(rows: ArrayLike<number>): Matrix {
  return Float32Array.from({ length: 16 }, (_, i) => rows[4 * (i % 4) + Math.floor(i / 4)]!);
}

export function multiply(a: Matrix, b: Matrix): Matrix {
  const out = new Float32Array(16);
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[4 * k + row]! * b[4 * column + k]!;
      out[4 * column + row] = sum;
    }
  }
  return out;
}

/** The inverse of a rotation with a translation. */
export function invertRigid(m: Matrix): Matrix {
  const out = new Float32Array(16);
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) out[4 * i + j] = m[4 * j + i]!;
    out[12 + i] = -(m[4 * i]! * m[12]! + m[4 * i + 1]! * m[13]! + m[4 * i + 2]! * m[14]!);
  }
  out[15] = 1;
  return out;
}

export function positionOf(m: Matrix): Vector {
  return [m[12]!, m[13]!, m[14]!];
}

/** Camera to world of someone who stands so. */
export function poseOf({ position, heading, tilt }: Stand): Matrix {
  const [ch, sh, ct, st] = [Math.cos(heading), Math.sin(heading), Math.cos(tilt), Math.sin(tilt)];
  return Float32Array.of(ch, 0, -sh, 0, sh * st, ct, ch * st, 0, sh * ct, -st, ch * ct, 0, ...position, 1);
}

/** Heading, tilt and place of a camera; its roll is not told. */
export function standOf(m: Matrix): Stand {
  const tilt = Math.asin(Math.max(-1, Math.min(1, -m[9]!)));
  // Straight up or down the back axis has no heading, the right axis still has.
  const heading = Math.abs(m[9]!) < 0.999 ? Math.atan2(m[8]!, m[10]!) : Math.atan2(-m[2]!, m[0]!);
  return { position: positionOf(m), heading, tilt };
}

/** `v` turned left by `angle` about +Y. */
export function turned([x, y, z]: Vector, angle: number): Vector {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return [c * x + s * z, y, c * z - s * x];
}

export function add(a: Vector, b: Vector, scale = 1): Vector {
  return [a[0] + scale * b[0], a[1] + scale * b[1], a[2] + scale * b[2]];
}

export function distance(a: Vector, b: Vector): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

export function wrap(angle: number): number {
  return Math.atan2(Math.sin(angle), Math.cos(angle));
}

/** Projection of a pinhole camera of `focal` and `center` in pixels of a picture `width` × `height`. */
export function pinhole(
  focal: number,
  center: readonly [number, number],
  width: number,
  height: number,
  near: number,
  far: number,
): Matrix {
  const out = new Float32Array(16);
  out[0] = (2 * focal) / width;
  out[5] = (2 * focal) / height;
  out[8] = 1 - (2 * center[0]) / width;
  out[9] = (2 * center[1]) / height - 1;
  out[10] = -(far + near) / (far - near);
  out[11] = -1;
  out[14] = (-2 * far * near) / (far - near);
  return out;
}

/** The widest angle from the middle to a side that a projection shows. */
export function halfSide(projection: Matrix): number {
  const across = (1 + Math.abs(projection[8]!)) / projection[0]!;
  const up = (1 + Math.abs(projection[9]!)) / projection[5]!;
  return Math.atan(Math.max(across, up));
}

/** Half the angle across which a projection sees, corner to corner. */
export function halfAngle(projection: Matrix): number {
  const across = (1 + Math.abs(projection[8]!)) / projection[0]!;
  const up = (1 + Math.abs(projection[9]!)) / projection[5]!;
  return Math.atan(Math.hypot(across, up));
}

/** The angle between the directions in which two cameras look. */
export function angleBetween(a: Matrix, b: Matrix): number {
  const cosine = a[8]! * b[8]! + a[9]! * b[9]! + a[10]! * b[10]!;
  return Math.acos(Math.max(-1, Math.min(1, cosine)));
}
