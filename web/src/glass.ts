// The little of WebGL2 that the page needs. It does not know what is drawn.

export interface Program {
  use(): void;
  /** Where a uniform is; names that the compiler dropped are accepted. */
  at(name: string): WebGLUniformLocation | null;
}

export function program(gl: WebGL2RenderingContext, vertex: string, fragment: string): Program {
  const made = gl.createProgram()!;
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, vertex],
    [gl.FRAGMENT_SHADER, fragment],
  ] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, `#version 300 es\nprecision highp float;\nprecision highp int;\n${source}`);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = gl.getAttachedShaders(made)!.map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`a shader does not link: ${[gl.getProgramInfoLog(made), ...logs].join("\n")}`);
  }
  const places = new Map<string, WebGLUniformLocation | null>();
  return {
    use: () => gl.useProgram(made),
    at(name) {
      if (!places.has(name)) places.set(name, gl.getUniformLocation(made, name));
      return places.get(name)!;
    },
  };
}

/** A texture of bytes, its edges clamped; `filter` is gl.LINEAR or gl.NEAREST. */
export function texture(gl: WebGL2RenderingContext, width: number, height: number, filter: number): WebGLTexture {
  const made = gl.createTexture()!;
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, width, height);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return made;
}

/** Something to draw into that can be read as a texture. */
export interface Target {
  texture: WebGLTexture;
  buffer: WebGLFramebuffer;
  width: number;
  height: number;
}

export function target(gl: WebGL2RenderingContext, width: number, height: number, filter: number): Target {
  const made = texture(gl, width, height, filter);
  const buffer = gl.createFramebuffer()!;
  gl.bindFramebuffer(gl.FRAMEBUFFER, buffer);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, made, 0);
  return { texture: made, buffer, width, height };
}

export function discard(gl: WebGL2RenderingContext, { texture, buffer }: Target): void {
  gl.deleteTexture(texture);
  gl.deleteFramebuffer(buffer);
}

/** Binds `texture` to a unit that `name` reads. */
export function bind(gl: WebGL2RenderingContext, from: Program, name: string, unit: number, made: WebGLTexture): void {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.uniform1i(from.at(name), unit);
}

/** Draws one triangle that covers everything; vertex shader `COVER`. */
export function cover(gl: WebGL2RenderingContext): void {
  gl.drawArrays(gl.TRIANGLES, 0, 3);
}

export const COVER = `
uniform float depth;
out vec2 place;
void main() {
  place = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
  gl_Position = vec4(place, depth, 1.0);
}`;
