// Draws other people as heads, hands and names, among the things of the world. It does not know who they are.

import { bind, program, texture } from "./glass";
import { hueOf, type Figure } from "./people";
import { multiply, positionOf, type Matrix, type Vector } from "./pose";

/** Half sizes in metres: right, up, back. */
const HEAD = [0.085, 0.12, 0.105] as const;
const HAND = [0.035, 0.05, 0.045] as const;
const [RINGS, SEGMENTS] = [10, 16];
const [SIGN_PIXELS_ACROSS, SIGN_PIXELS_UP] = [256, 64];
const SIGN_METRES = [0.44, 0.11] as const;
const SIGN_ABOVE = 0.24;
const SIGNS_MOST = 32;

const BALL_VERTEX = `
uniform mat4 clip;
uniform vec3 size;
out vec3 normal;
const float PI = 3.14159265;
void main() {
  int cell = gl_VertexID / 6, corner = gl_VertexID % 6;
  ivec2 step = ivec2[6](ivec2(0, 0), ivec2(0, 1), ivec2(1, 0), ivec2(1, 0), ivec2(0, 1), ivec2(1, 1))[corner];
  ivec2 place = ivec2(cell % ${SEGMENTS}, cell / ${SEGMENTS}) + step;
  vec2 angle = vec2(2.0 * PI * float(place.x) / ${SEGMENTS}.0, PI * float(place.y) / ${RINGS}.0);
  normal = vec3(sin(angle.x) * sin(angle.y), cos(angle.y), cos(angle.x) * sin(angle.y));
  gl_Position = clip * vec4(normal * size, 1.0);
}`;

/** A face is where −Z is: a dark visor tells which way someone looks. */
const BALL = `
uniform vec3 tint;
uniform bool face;
in vec3 normal;
out vec4 color;
void main() {
  vec3 n = normalize(normal);
  float light = 0.62 + 0.38 * n.y;
  bool visor = face && n.z < -0.45 && abs(n.y - 0.12) < 0.3;
  color = vec4(visor ? vec3(0.05, 0.06, 0.09) + 0.25 * pow(max(0.0, n.y + 0.2), 4.0) : tint * light, 1.0);
}`;

const NAME_VERTEX = `
uniform mat4 clip;
uniform vec2 size;
out vec2 place;
void main() {
  vec2 corner = vec2(gl_VertexID % 2, gl_VertexID / 2);
  place = vec2(corner.x, 1.0 - corner.y);
  gl_Position = clip * vec4((corner - 0.5) * size, 0.0, 1.0);
}`;

const NAME = `
uniform sampler2D words;
in vec2 place;
out vec4 color;
void main() {
  color = texture(words, place);
  if (color.a < 0.5) discard;
  color = vec4(color.rgb / color.a, 1.0);
}`;

export class Figures {
  private readonly ball;
  private readonly sign;
  private readonly empty: WebGLVertexArrayObject;
  private readonly names = new Map<string, WebGLTexture>();
  private readonly pen: CanvasRenderingContext2D;

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.ball = program(gl, BALL_VERTEX, BALL);
    this.sign = program(gl, NAME_VERTEX, NAME);
    this.empty = gl.createVertexArray()!;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [SIGN_PIXELS_ACROSS, SIGN_PIXELS_UP];
    this.pen = canvas.getContext("2d")!;
  }

  /** Draws `figures` for an eye at `pose` into what is bound; depth as set. */
  draw(figures: readonly Figure[], toClip: Matrix, pose: Matrix): void {
    const { gl, ball } = this;
    if (figures.length === 0) return;
    gl.bindVertexArray(this.empty);
    ball.use();
    for (const figure of figures) {
      const turned = poseFrom(figure.position, figure.turn);
      gl.uniform3f(ball.at("tint"), ...colour(hueOf(figure.id)));
      this.drawBall(multiply(toClip, turned), HEAD, true);
      for (const hand of figure.hands) this.drawBall(multiply(toClip, poseFrom(hand, figure.turn)), HAND, false);
    }
    this.sign.use();
    for (const figure of figures) this.drawName(figure, toClip, pose);
  }

  private drawBall(clip: Matrix, size: readonly [number, number, number], face: boolean): void {
    const { gl, ball } = this;
    gl.uniformMatrix4fv(ball.at("clip"), false, clip);
    gl.uniform3f(ball.at("size"), ...size);
    gl.uniform1i(ball.at("face"), Number(face));
    gl.drawArrays(gl.TRIANGLES, 0, 6 * RINGS * SEGMENTS);
  }

  private drawName(figure: Figure, toClip: Matrix, pose: Matrix): void {
    const { gl, sign } = this;
    // Upright, and turned to the eye.
    const [x, y, z] = figure.position;
    const eye = positionOf(pose);
    const heading = Math.atan2(eye[0] - x, eye[2] - z);
    const [c, s] = [Math.cos(heading), Math.sin(heading)];
    const place = Float32Array.of(c, 0, -s, 0, 0, 1, 0, 0, s, 0, c, 0, x, y + SIGN_ABOVE, z, 1);
    const words = this.nameOf(figure.name);
    sign.use();
    bind(gl, sign, "words", 0, words);
    gl.uniform2f(sign.at("size"), ...SIGN_METRES);
    gl.uniformMatrix4fv(sign.at("clip"), false, multiply(toClip, place));
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  private nameOf(name: string): WebGLTexture {
    const known = this.names.get(name);
    if (known) return known;
    if (this.names.size >= SIGNS_MOST) {
      for (const made of this.names.values()) this.gl.deleteTexture(made);
      this.names.clear();
    }
    const { gl, pen } = this;
    pen.clearRect(0, 0, SIGN_PIXELS_ACROSS, SIGN_PIXELS_UP);
    pen.font = "600 34px system-ui, sans-serif";
    pen.textAlign = "center";
    const width = Math.min(SIGN_PIXELS_ACROSS, pen.measureText(name).width + 28);
    pen.fillStyle = "#11151c";
    pen.beginPath();
    pen.roundRect((SIGN_PIXELS_ACROSS - width) / 2, 6, width, 52, 16);
    pen.fill();
    pen.fillStyle = "#fff";
    pen.fillText(name, SIGN_PIXELS_ACROSS / 2, 44, SIGN_PIXELS_ACROSS - 16);
    const made = texture(gl, SIGN_PIXELS_ACROSS, SIGN_PIXELS_UP, gl.LINEAR);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, true);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, gl.RGBA, gl.UNSIGNED_BYTE, pen.canvas);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    this.names.set(name, made);
    return made;
  }
}

/** A pose from a place and a unit quaternion xyzw. */
export function poseFrom([px, py, pz]: Vector, [x, y, z, w]: readonly [number, number, number, number]): Matrix {
  return Float32Array.of(
    ...[1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y), 0],
    ...[2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x), 0],
    ...[2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y), 0],
    ...[px, py, pz, 1],
  );
}

/** The unit quaternion xyzw of a pose. */
export function turnOf(m: Matrix): [number, number, number, number] {
  const [a, b, c] = [m[0]!, m[5]!, m[10]!];
  const w = Math.sqrt(Math.max(0, 1 + a + b + c)) / 2;
  const size = (value: number, sign: number) => (sign < 0 ? -1 : 1) * (Math.sqrt(Math.max(0, value)) / 2);
  return [size(1 + a - b - c, m[6]! - m[9]!), size(1 - a + b - c, m[8]! - m[2]!), size(1 - a - b + c, m[1]! - m[4]!), w];
}

function colour(hue: number): [number, number, number] {
  const part = (shift: number) => 0.62 + 0.3 * Math.cos(2 * Math.PI * (hue + shift));
  return [part(0), part(-1 / 3), part(1 / 3)];
}
