// Draws the world as it looks from any place, from the frames that came: the newest as a mesh in the world, a few
// earlier ones behind it, and behind all the remembered colour of every direction. It does not know who looks.

import { Figures } from "./figures";
import { bind, cover, COVER, discard, program, target, texture, type Target } from "./glass";
import { apart, choose, ordered, type Seen } from "./keyframes";
import type { Figure } from "./people";
import {
  angleBetween,
  distance,
  fromRows,
  halfAngle,
  invertRigid,
  multiply,
  positionOf,
  type Matrix,
} from "./pose";
import { CELLS, FAR, MEMORY, MESH_FRAGMENT, MESH_VERTEX, SIFT } from "./shaders";
import type { Frame } from "./wire";

/** As much of a frame as is needed to draw it. */
export type Taken = Pick<
  Frame,
  "width" | "height" | "hasDepth" | "id" | "world" | "tick" | "pose" | "focal" | "center" | "near" | "far"
>;

/** Vertices along a side of the mesh, at most; and where a processor draws, which minds triangles more than pixels. */
const GRID_MOST = 192;
const GRID_MOST_SOFTWARE = 64;
/** Of the vertices of frames in the background, each so many is used. */
const STRIDE_BEHIND = 2;
const MEMORY_SIZE = [64, 32] as const;
/** Depth of the framebuffer is shared out: what is newer covers what is older, however near that is. */
const SHARES = 8;
/** Parallax of fewer texels than this tears nothing. */
const TORN = 0.5;

/** An eye: where it draws, how it projects, and where it is (camera to world). */
export interface Eye {
  viewport: readonly [number, number, number, number];
  projection: Matrix;
  pose: Matrix;
}

export interface Style {
  depth: boolean;
  /** Squares of one colour instead of interpolated ones. */
  squares: boolean;
  /** A dearer filter that keeps edges sharper. */
  fine: boolean;
}

interface Layer extends Seen {
  picture: WebGLTexture;
  sifted: Target;
  cells: Target;
  width: number;
  height: number;
  grid: readonly [number, number];
  lens: readonly [number, number, number];
  /** Inverse metres: of the farthest, and from there to the nearest. */
  range: readonly [number, number];
}

export class Reprojection {
  /** What the last `draw` did, for those who measure. */
  meshes = 0;
  private readonly programs;
  private readonly figures: Figures;
  private readonly empty: WebGLVertexArrayObject;
  private readonly indices = new Map<string, { array: WebGLVertexArrayObject; count: number }>();
  private memory: [Target, Target];
  private fresh = true;
  private newest: Layer | null = null;
  private keys: Layer[] = [];
  private spare: Layer[] = [];

  constructor(
    private readonly gl: WebGL2RenderingContext,
    private readonly software: boolean,
  ) {
    this.programs = {
      sift: program(gl, COVER, SIFT),
      cells: program(gl, COVER, CELLS),
      memory: program(gl, COVER, MEMORY),
      mesh: program(gl, MESH_VERTEX, MESH_FRAGMENT),
      far: program(gl, COVER, FAR),
    };
    this.figures = new Figures(gl);
    this.empty = gl.createVertexArray()!;
    const remembered = () => {
      const made = target(gl, ...MEMORY_SIZE, gl.LINEAR);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.REPEAT);
      return made;
    };
    this.memory = [remembered(), remembered()];
  }

  /** Another world: nothing that was seen holds any more. */
  begin(): void {
    this.spare.push(...this.keys, ...(this.newest ? [this.newest] : []));
    this.keys = [];
    this.newest = null;
    this.fresh = true;
  }

  /** Whether there is anything to draw. */
  get ready(): boolean {
    return this.newest !== null;
  }

  /** Takes a frame, decoded; it is the newest from now on. */
  show(frame: Taken, picture: TexImageSource): void {
    const layer = this.layer(frame);
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, layer.picture);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    const columns = frame.hasDepth ? 2 * frame.width : frame.width; // a codec may have padded the picture
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, columns, frame.height, gl.RGBA, gl.UNSIGNED_BYTE, picture);
    gl.bindVertexArray(this.empty);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.BLEND);
    this.sift(layer, frame.hasDepth);
    this.remember(layer);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.replace(layer);
  }

  /** Draws what each eye sees into `buffer`, with other people in it; nothing in it stays what it was. */
  draw(eyes: readonly Eye[], buffer: WebGLFramebuffer | null, style: Style, people: readonly Figure[] = []): void {
    const { gl, newest } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, buffer);
    gl.depthMask(true);
    gl.disable(gl.BLEND);
    gl.disable(gl.CULL_FACE);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    gl.depthRange(0, 1);
    gl.clear(gl.DEPTH_BUFFER_BIT);
    this.meshes = 0;
    if (!newest) return;
    this.filter(newest, style.squares);
    for (const eye of eyes) {
      gl.viewport(...eye.viewport);
      const view = invertRigid(eye.pose);
      const toClip = multiply(eye.projection, view);
      this.drawMeshes(eye, toClip, style, people);
    }
    gl.depthRange(0, 1);
  }

  private drawMeshes(eye: Eye, toClip: Matrix, style: Style, people: readonly Figure[]): void {
    const { gl, programs, newest } = this;
    if (!newest) return;
    programs.mesh.use();
    gl.uniform1i(programs.mesh.at("look"), style.depth ? 1 : style.fine && !style.squares ? 2 : 0);
    const view: Seen = { ...newest, pose: eye.pose };
    this.drawMesh(newest, eye, toClip, 0, 0);
    this.figures.draw(people, toClip, eye.pose); // in the newest frame's share of depth: they stand among its things
    programs.mesh.use();
    if (this.covered(newest, eye)) return;
    const behind = ordered(this.keys, view)
      .map((i) => this.keys[i]!)
      // What the newest frame shows as well would be hidden by it.
      .filter((key) => apart(key, newest) > 0.05 && this.inView(key, eye));
    behind.forEach((key, i) => this.drawMesh(key, eye, toClip, 0, i + 1));
    if (this.opened(newest, eye) > TORN) this.drawMesh(newest, eye, toClip, 1, behind.length + 1);
    this.drawFar(eye, style.depth);
  }

  /** Whether the newest frame alone fills what an eye sees: then nothing is drawn behind it. */
  private covered(layer: Layer, eye: Eye): boolean {
    if (this.opened(layer, eye) > TORN) return false;
    const p = eye.projection;
    const turn = multiply(invertRigid(layer.pose), eye.pose);
    return [-1, 1].every((x) =>
      [-1, 1].every((y) => {
        const [a, b] = [(x + p[8]!) / p[0]!, (y + p[9]!) / p[5]!];
        const [right, up, back] = [0, 1, 2].map((i) => turn[i]! * a + turn[4 + i]! * b - turn[8 + i]!) as [number, number, number];
        const column = layer.lens[1] - (layer.lens[0] * right) / back;
        const row = layer.lens[2] + (layer.lens[0] * up) / back;
        return back < 0 && column >= TORN && row >= TORN && column <= layer.width - TORN && row <= layer.height - TORN;
      }),
    );
  }

  /** How many texels parallax can open between the nearest and the farthest thing. */
  private opened(layer: Layer, eye: Eye): number {
    return layer.lens[0] * distance(positionOf(layer.pose), positionOf(eye.pose)) * layer.range[1];
  }

  private inView(layer: Layer, eye: Eye): boolean {
    // One may stand beside what a frame shows: only close to its place does its direction decide.
    if (distance(positionOf(layer.pose), positionOf(eye.pose)) > 0.5 * layer.near) return true;
    return angleBetween(layer.pose, eye.pose) < halfAngle(eye.projection) + 0.75 * layer.across + 0.3;
  }

  private drawMesh(layer: Layer, eye: Eye, toClip: Matrix, part: 0 | 1, rank: number): void {
    const { gl } = this;
    const { mesh } = this.programs;
    const apartness = distance(positionOf(layer.pose), positionOf(eye.pose));
    bind(gl, mesh, "picture", 0, layer.picture);
    bind(gl, mesh, "cells", 1, layer.cells.texture);
    gl.uniform2i(mesh.at("grid"), ...layer.grid);
    gl.uniform2f(mesh.at("size"), layer.width, layer.height);
    gl.uniform3f(mesh.at("lens"), ...layer.lens);
    gl.uniform2f(mesh.at("range"), ...layer.range);
    gl.uniform1f(mesh.at("reach"), layer.lens[0] * apartness);
    gl.uniform1i(mesh.at("part"), part);
    gl.uniformMatrix4fv(mesh.at("clip"), false, multiply(toClip, layer.pose));
    gl.depthRange(rank / SHARES, (rank + 1) / SHARES);
    const { array, count } = this.triangles(layer.grid, layer === this.newest ? 1 : STRIDE_BEHIND);
    gl.bindVertexArray(array);
    gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_SHORT, 0);
    this.meshes += 1;
  }

  private drawFar(eye: Eye, plain: boolean): void {
    const { gl } = this;
    const { far } = this.programs;
    const turn = Float32Array.from(eye.pose);
    turn[12] = turn[13] = turn[14] = 0;
    far.use();
    bind(gl, far, "memory", 0, this.memory[0].texture);
    gl.uniformMatrix4fv(far.at("unproject"), false, multiply(turn, invertProjection(eye.projection)));
    gl.uniform1i(far.at("plain"), Number(plain));
    gl.uniform1f(far.at("depth"), 1);
    gl.depthRange((SHARES - 1) / SHARES, 1);
    gl.bindVertexArray(this.empty);
    cover(gl);
  }

  private filter(layer: Layer, squares: boolean): void {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, layer.picture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, squares ? gl.NEAREST : gl.LINEAR);
  }

  private sift(layer: Layer, hasDepth: boolean): void {
    const { gl } = this;
    const { sift, cells } = this.programs;
    gl.bindFramebuffer(gl.FRAMEBUFFER, layer.sifted.buffer);
    gl.viewport(0, 0, ...layer.grid);
    sift.use();
    bind(gl, sift, "picture", 0, layer.picture);
    gl.uniform2i(sift.at("size"), layer.width, layer.height);
    gl.uniform2i(sift.at("grid"), ...layer.grid);
    gl.uniform1f(sift.at("deep"), Number(hasDepth));
    cover(gl);
    gl.bindFramebuffer(gl.FRAMEBUFFER, layer.cells.buffer);
    cells.use();
    bind(gl, cells, "sifted", 0, layer.sifted.texture);
    gl.uniform2i(cells.at("grid"), ...layer.grid);
    cover(gl);
  }

  private remember(layer: Layer): void {
    const { gl } = this;
    const { memory } = this.programs;
    const [now, next] = this.memory;
    gl.bindFramebuffer(gl.FRAMEBUFFER, next.buffer);
    gl.viewport(0, 0, next.width, next.height);
    memory.use();
    bind(gl, memory, "before", 0, now.texture);
    bind(gl, memory, "picture", 1, layer.picture);
    gl.uniform2f(memory.at("size"), layer.width, layer.height);
    gl.uniform3f(memory.at("lens"), ...layer.lens);
    gl.uniformMatrix3fv(memory.at("toCamera"), false, transposed(layer.pose));
    gl.uniform1i(memory.at("fresh"), Number(this.fresh));
    cover(gl);
    this.memory = [next, now];
    this.fresh = false;
  }

  private replace(layer: Layer): void {
    const leaving = this.newest;
    this.newest = layer;
    if (!leaving) return;
    const { keep, drop } = choose(this.keys, leaving, layer);
    if (drop >= 0) this.spare.push(...this.keys.splice(drop, 1));
    (keep ? this.keys : this.spare).push(leaving);
  }

  private layer(frame: Taken): Layer {
    const { gl } = this;
    const { width, height } = frame;
    const most = this.software ? GRID_MOST_SOFTWARE : GRID_MOST;
    const grid = [Math.min(width, most), Math.min(height, most)] as const;
    const fits = this.spare.findIndex((layer) => layer.width === width && layer.height === height);
    const [used] = fits >= 0 ? this.spare.splice(fits, 1) : [];
    if (fits < 0) this.spare.splice(0).forEach((layer) => this.discard(layer));
    const made = used ?? {
      picture: texture(gl, 2 * width, height, gl.LINEAR),
      sifted: target(gl, ...grid, gl.NEAREST),
      cells: target(gl, ...grid, gl.NEAREST),
    };
    const [near, far] = [Math.max(frame.near, 1e-3), Math.max(frame.far, 1e-3)];
    return {
      ...made,
      width,
      height,
      grid,
      pose: fromRows(frame.pose),
      lens: [frame.focal, ...frame.center],
      range: [1 / far, Math.max(0, 1 / near - 1 / far)],
      across: 2 * Math.atan(width / (2 * frame.focal)),
      near,
    };
  }

  private discard(layer: Layer): void {
    this.gl.deleteTexture(layer.picture);
    discard(this.gl, layer.sifted);
    discard(this.gl, layer.cells);
  }

  private triangles(grid: readonly [number, number], stride: number) {
    const name = `${grid} ${stride}`;
    let made = this.indices.get(name);
    if (!made) {
      const { gl } = this;
      const list = triangles(grid, stride);
      const array = gl.createVertexArray()!;
      gl.bindVertexArray(array);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, list, gl.STATIC_DRAW);
      made = { array, count: list.length };
      this.indices.set(name, made);
    }
    return made;
  }
}

/** Corners of the triangles over each `stride`-th of `columns` × `rows` vertices, and always the last. */
export function triangles([columns, rows]: readonly [number, number], stride: number): Uint16Array {
  const steps = (count: number) => [...Array(Math.ceil((count - 1) / stride)).keys()].map((i) => i * stride).concat(count - 1);
  const [xs, ys] = [steps(columns), steps(rows)];
  const list: number[] = [];
  for (let y = 0; y + 1 < ys.length; y++) {
    for (let x = 0; x + 1 < xs.length; x++) {
      const [above, below] = [ys[y]! * columns, ys[y + 1]! * columns];
      const [left, right] = [xs[x]!, xs[x + 1]!];
      list.push(above + left, below + left, above + right, above + right, below + left, below + right);
    }
  }
  return Uint16Array.from(list);
}

function transposed(m: Matrix): Float32Array {
  return Float32Array.of(m[0]!, m[4]!, m[8]!, m[1]!, m[5]!, m[9]!, m[2]!, m[6]!, m[10]!);
}

/** The inverse of a pinhole projection, good for directions. */
function invertProjection(p: Matrix): Matrix {
  const out = new Float32Array(16);
  out[0] = 1 / p[0]!;
  out[5] = 1 / p[5]!;
  out[12] = p[8]! / p[0]!;
  out[13] = p[9]! / p[5]!;
  out[14] = -1;
  return out;
}
