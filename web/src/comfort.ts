// What is laid over the world in a headset: a dark rim while one is moved, a calm colour over a stall, and words.

import { bind, cover, COVER, program, texture } from "./glass";
import { invertRigid, multiply, positionOf, standOf, turned, wrap, add, type Matrix, type Vector } from "./pose";
import type { Eye } from "./reprojection";

const VEIL = `
uniform mat4 unproject;
uniform vec2 rim;
uniform float dark;
uniform float calm;
in vec2 place;
out vec4 color;
void main() {
  vec3 d = (unproject * vec4(place, 1.0, 1.0)).xyz;
  float edge = dark * smoothstep(rim.x, rim.y, atan(length(d.xy), -d.z));
  float all = max(edge, calm);
  color = vec4(vec3(0.075, 0.095, 0.125) * (calm / max(all, 1e-4)), all);
}`;

const SIGN_VERTEX = `
uniform mat4 clip;
uniform vec2 size;
out vec2 place;
void main() {
  vec2 corner = vec2(gl_VertexID % 2, gl_VertexID / 2);
  place = vec2(corner.x, 1.0 - corner.y);
  gl_Position = clip * vec4((corner - 0.5) * size, 0.0, 1.0);
}`;

const SIGN = `
uniform sampler2D words;
uniform float shown;
in vec2 place;
out vec4 color;
void main() { color = texture(words, place) * shown; }`;

const [PIXELS_ACROSS, PIXELS_UP] = [1024, 256];
const SIGN_METRES = [1.1, 0.275] as const;
const SIGN_AWAY = 1.5;
const SIGN_BELOW = 0.42;
/** How far the head turns before the words come along. */
const SIGN_SLACK = 0.45;
const [COMING, GOING] = [0.12, 0.35];

export class Comfort {
  /** Somebody is being moved by a stick. */
  moving = false;
  /** Nothing new has come for too long. */
  stalled = false;
  private dark = 0;
  private calm = 0;
  private shown = 0;
  private text = "";
  private until = 0;
  private drawn = "";
  private heading: number | null = null;
  private readonly veil;
  private readonly sign;
  private readonly words: WebGLTexture;
  private readonly empty: WebGLVertexArrayObject;
  private readonly pen: CanvasRenderingContext2D;

  /** With `gentle`, the rim is narrower and nothing fades: it is there or not. */
  constructor(
    private readonly gl: WebGL2RenderingContext,
    private readonly gentle: boolean,
  ) {
    this.veil = program(gl, COVER, VEIL);
    this.sign = program(gl, SIGN_VERTEX, SIGN);
    this.words = texture(gl, PIXELS_ACROSS, PIXELS_UP, gl.LINEAR);
    this.empty = gl.createVertexArray()!;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [PIXELS_ACROSS, PIXELS_UP];
    this.pen = canvas.getContext("2d")!;
  }

  /** Shows words until `until` seconds. */
  say(text: string, until: number): void {
    this.text = text;
    this.until = until;
  }

  /** Lets things come and go; `head` is in the real room. */
  step(now: number, seconds: number, head: Matrix): void {
    const toward = (value: number, goal: number) => {
      if (this.gentle) return goal;
      return goal + (value - goal) * Math.exp(-seconds / (goal > value ? COMING : GOING));
    };
    this.dark = toward(this.dark, Number(this.moving));
    this.calm = toward(this.calm, this.stalled ? 0.94 : 0);
    this.shown = toward(this.shown, Number(this.text !== "" && now < this.until));
    const { heading } = standOf(head);
    if (this.heading === null || this.shown < 0.02) this.heading = heading;
    const off = wrap(heading - this.heading);
    if (Math.abs(off) > SIGN_SLACK) this.heading += off - Math.sign(off) * SIGN_SLACK;
  }

  /** Draws over what each eye sees; `toWorld` takes poses of the real room to those of the eyes. */
  draw(eyes: readonly Eye[], toWorld: (pose: Matrix) => Matrix, head: Matrix): void {
    const { gl } = this;
    gl.disable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.bindVertexArray(this.empty);
    for (const eye of eyes) {
      gl.viewport(...eye.viewport);
      if (this.dark > 0.01 || this.calm > 0.01) this.drawVeil(eye);
      if (this.shown > 0.01) this.drawSign(eye, toWorld(this.signPose(positionOf(head))));
    }
    gl.disable(gl.BLEND);
  }

  private drawVeil(eye: Eye): void {
    const { gl, veil } = this;
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    veil.use();
    const p = eye.projection;
    gl.uniformMatrix4fv(veil.at("unproject"), false, [
      ...[1 / p[0]!, 0, 0, 0],
      ...[0, 1 / p[5]!, 0, 0],
      ...[0, 0, 0, 0],
      ...[p[8]! / p[0]!, p[9]! / p[5]!, -1, 0],
    ]);
    gl.uniform2f(veil.at("rim"), this.gentle ? 0.2 : 0.33, this.gentle ? 0.4 : 0.62);
    gl.uniform1f(veil.at("dark"), this.dark);
    gl.uniform1f(veil.at("calm"), this.calm);
    gl.uniform1f(veil.at("depth"), 0);
    cover(gl);
  }

  private drawSign(eye: Eye, pose: Matrix): void {
    const { gl, sign } = this;
    this.write();
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    sign.use();
    bind(gl, sign, "words", 0, this.words);
    gl.uniform1f(sign.at("shown"), this.shown);
    gl.uniform2f(sign.at("size"), ...SIGN_METRES);
    gl.uniformMatrix4fv(sign.at("clip"), false, multiply(eye.projection, multiply(invertRigid(eye.pose), pose)));
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  private signPose(head: Vector): Matrix {
    const heading = this.heading ?? 0;
    const place = add(add(head, turned([0, 0, -SIGN_AWAY], heading)), [0, -SIGN_BELOW, 0]);
    const [c, s] = [Math.cos(heading), Math.sin(heading)];
    return Float32Array.of(c, 0, -s, 0, 0, 1, 0, 0, s, 0, c, 0, ...place, 1);
  }

  private write(): void {
    if (this.drawn === this.text) return;
    this.drawn = this.text;
    const { gl, pen } = this;
    pen.clearRect(0, 0, PIXELS_ACROSS, PIXELS_UP);
    pen.font = "44px system-ui, sans-serif";
    pen.textAlign = "center";
    const lines = wrapped(this.text, (line) => pen.measureText(line).width < PIXELS_ACROSS - 90).slice(0, 4);
    const height = 54 * lines.length + 34;
    const width = Math.max(...lines.map((line) => pen.measureText(line).width)) + 70;
    pen.fillStyle = "#0b0d12e0";
    pen.beginPath();
    pen.roundRect((PIXELS_ACROSS - width) / 2, (PIXELS_UP - height) / 2, width, height, 26);
    pen.fill();
    pen.fillStyle = "#fff";
    lines.forEach((line, i) => pen.fillText(line, PIXELS_ACROSS / 2, (PIXELS_UP - height) / 2 + 60 + 54 * i));
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.words);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, true);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, gl.RGBA, gl.UNSIGNED_BYTE, pen.canvas);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  }
}

/** `text` in lines that `fits`, broken between words. */
export function wrapped(text: string, fits: (line: string) => boolean): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && fits(longer)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
