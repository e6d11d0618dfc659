// The programs of the depth mesh. Texel row 0 is the top row of a picture; n is inverse depth from 0 (far) to 1 (near).

/** A picture's inverse depth, freed from what JPEG did to it, 16 bits in red and green. One texel for a vertex. */
export const SIFT = `
uniform sampler2D picture;
uniform ivec2 size;
uniform ivec2 grid;
uniform float deep;
out vec4 color;
float raw(ivec2 p) {
  return texelFetch(picture, ivec2(size.x + clamp(p.x, 0, size.x - 1), clamp(p.y, 0, size.y - 1)), 0).r;
}
void main() {
  ivec2 v = ivec2(gl_FragCoord.xy);
  ivec2 p = ivec2(round(vec2(v) * vec2(size - 1) / vec2(max(grid - 1, ivec2(1)))));
  float low = 1.0, high = 0.0;
  for (int y = -1; y <= 1; y++) for (int x = -1; x <= 1; x++) {
    float n = raw(p + ivec2(x, y));
    low = min(low, n);
    high = max(high, n);
  }
  // Between two surfaces there is no third: a value in the middle belongs to the nearer of the two.
  bool edge = high - low > 0.06;
  float middle = 0.5 * (low + high);
  bool front = raw(p) > middle;
  float sum = 0.0, weight = 0.0;
  for (int y = -1; y <= 1; y++) for (int x = -1; x <= 1; x++) {
    float n = raw(p + ivec2(x, y));
    float w = float((2 - abs(x)) * (2 - abs(y)));
    if (edge && (n > middle) != front) continue;
    sum += w * n;
    weight += w;
  }
  float n = deep * sum / weight * 65535.0;
  color = vec4(floor(n / 256.0) / 255.0, mod(floor(n), 256.0) / 255.0, 0.0, 1.0);
}`;

const UNPACK = `
float unpack(vec4 c) { return (c.r * 65280.0 + c.g * 255.0) / 65535.0; }`;

/** The same, and in blue whether the cell right of and below a vertex spans two surfaces. */
export const CELLS = `
uniform sampler2D sifted;
uniform ivec2 grid;
out vec4 color;
${UNPACK}
float at(ivec2 p) { return unpack(texelFetch(sifted, clamp(p, ivec2(0), grid - 1), 0)); }
// A slope goes on at one side at least; a step does so at neither.
bool torn(ivec2 a, ivec2 step) {
  float jump = abs(at(a + step) - at(a));
  float before = abs(at(a) - at(a - step));
  float after = abs(at(a + 2 * step) - at(a + step));
  return jump > 0.02 + 1.5 * min(before, after);
}
void main() {
  ivec2 v = ivec2(gl_FragCoord.xy);
  ivec2 x = ivec2(1, 0), y = ivec2(0, 1);
  bool cut = torn(v, x) || torn(v, y) || torn(v + y, x) || torn(v + x, y);
  color = texelFetch(sifted, v, 0);
  color.b = float(cut);
}`;

/**
 * A vertex of the mesh in homogeneous coordinates, divided by its depth: what is infinitely far has a place too, and
 * texture coordinates are interpolated in the picture's own plane, exact for planes.
 */
export const MESH_VERTEX = `
uniform sampler2D cells;
uniform ivec2 grid;
uniform vec2 size;
uniform vec3 lens;
uniform vec2 range;
uniform mat4 clip;
out vec2 place;
out vec2 texel;
${UNPACK}
void main() {
  ivec2 v = ivec2(gl_VertexID % grid.x, gl_VertexID / grid.x);
  texel = vec2(v) * (size - 1.0) / vec2(grid - 1) + 0.5;
  if (v.x == 0) texel.x = 0.0;
  if (v.y == 0) texel.y = 0.0;
  if (v.x == grid.x - 1) texel.x = size.x;
  if (v.y == grid.y - 1) texel.y = size.y;
  place = vec2(v);
  float inverse = range.x + range.y * unpack(texelFetch(cells, v, 0));
  vec2 ray = (texel - lens.yz) / lens.x;
  gl_Position = clip * vec4(ray.x, -ray.y, -1.0, inverse);
}`;

/**
 * Where a cell spans two surfaces and parallax has pulled it open, each side keeps its half of a texel; the gap is
 * left to what lies behind (part 0), or painted with the farther side (part 1).
 */
export const MESH_FRAGMENT = `
uniform sampler2D picture;
uniform sampler2D cells;
uniform ivec2 grid;
uniform vec2 size;
uniform vec2 range;
uniform float reach;
uniform int part;
uniform int look;
in vec2 place;
in vec2 texel;
out vec4 color;
${UNPACK}
vec3 pick(vec2 t) {
  t = clamp(t, vec2(0.5), size - 0.5);
  if (look == 1) t.x += size.x;
  vec2 whole = vec2(2.0 * size.x, size.y);
  if (look != 2) return texture(picture, t / whole).rgb;
  // Catmull-Rom in five linear samples; the four corners weigh almost nothing and are left out.
  vec2 centre = floor(t - 0.5) + 0.5;
  vec2 f = t - centre;
  vec2 w0 = f * (-0.5 + f * (1.0 - 0.5 * f));
  vec2 w1 = 1.0 + f * f * (-2.5 + 1.5 * f);
  vec2 w2 = f * (0.5 + f * (2.0 - 1.5 * f));
  vec2 w3 = f * f * (-0.5 + 0.5 * f);
  vec2 w12 = w1 + w2;
  vec2 low = max(centre - 1.0, vec2(0.5)), high = min(centre + 2.0, size - 0.5);
  vec2 middle = clamp(centre + w2 / w12, vec2(0.5), size - 0.5);
  vec4 sum = vec4(texture(picture, middle / whole).rgb, 1.0) * w12.x * w12.y;
  sum += vec4(texture(picture, vec2(low.x, middle.y) / whole).rgb, 1.0) * w0.x * w12.y;
  sum += vec4(texture(picture, vec2(high.x, middle.y) / whole).rgb, 1.0) * w3.x * w12.y;
  sum += vec4(texture(picture, vec2(middle.x, low.y) / whole).rgb, 1.0) * w12.x * w0.y;
  sum += vec4(texture(picture, vec2(middle.x, high.y) / whole).rgb, 1.0) * w12.x * w3.y;
  return clamp(sum.rgb / sum.a, 0.0, 1.0);
}
void main() {
  color = vec4(0.0, 0.0, 0.0, 1.0);
  ivec2 cell = clamp(ivec2(place), ivec2(0), grid - 2);
  vec4 here = texelFetch(cells, cell, 0);
  if (here.b > 0.5) {
    vec4 n = vec4(
      unpack(here),
      unpack(texelFetch(cells, cell + ivec2(1, 0), 0)),
      unpack(texelFetch(cells, cell + ivec2(0, 1), 0)),
      unpack(texelFetch(cells, cell + ivec2(1, 1), 0)));
    float low = min(min(n.x, n.y), min(n.z, n.w)), high = max(max(n.x, n.y), max(n.z, n.w));
    float opened = reach * range.y * (high - low);
    if (opened > 0.5) {
      vec2 f = clamp(place - vec2(cell), 0.0, 1.0);
      vec4 w = vec4((1.0 - f.x) * (1.0 - f.y), f.x * (1.0 - f.y), (1.0 - f.x) * f.y, f.x * f.y);
      vec4 front = step(vec4(0.5 * (low + high)), n);
      float share = dot(w, front);
      float rim = 0.5 / (1.0 + opened);
      bool near = share > 1.0 - rim, far = share < rim;
      if ((near || far) == (part == 1)) discard;
      vec4 side = w * (near ? front : 1.0 - front) + 1e-6 * (near ? front : 1.0 - front);
      vec2 scale = (size - 1.0) / vec2(grid - 1);
      vec2 base = vec2(cell) * scale + 0.5;
      vec3 sum = side.x * pick(base) + side.y * pick(base + vec2(scale.x, 0.0))
        + side.z * pick(base + vec2(0.0, scale.y)) + side.w * pick(base + scale);
      color.rgb = sum / dot(side, vec4(1.0));
      return;
    }
  }
  if (part == 1) discard;
  color.rgb = pick(texel);
}`;

/** The colours of all directions, blurred; alpha says which have been seen. Unseen ones grow from their neighbours. */
export const MEMORY = `
uniform sampler2D before;
uniform sampler2D picture;
uniform vec2 size;
uniform vec3 lens;
uniform mat3 toCamera;
uniform bool fresh;
out vec4 color;
const float PI = 3.14159265;
vec3 blurred(vec2 t) {
  vec3 sum = vec3(0.0);
  for (int y = 0; y < 4; y++) for (int x = 0; x < 4; x++) {
    vec2 p = t + (vec2(x, y) - 1.5) * size / 40.0;
    sum += texture(picture, clamp(p, vec2(0.5), size - 0.5) / vec2(2.0 * size.x, size.y)).rgb;
  }
  return sum / 16.0;
}
void main() {
  ivec2 whole = textureSize(before, 0);
  ivec2 here = ivec2(gl_FragCoord.xy);
  vec2 angle = (gl_FragCoord.xy / vec2(whole) - vec2(0.5, 0.0)) * vec2(2.0 * PI, PI);
  vec3 direction = vec3(sin(angle.x) * sin(angle.y), cos(angle.y), -cos(angle.x) * sin(angle.y));
  vec3 c = toCamera * direction;
  // Beyond the picture's edge, the angle from its middle counts: continuous all around, whatever is behind.
  float off = length(c.xy);
  float reach = c.z < -0.05 ? off / -c.z : 20.0;
  vec2 t = lens.yz + lens.x * min(reach, 20.0) * vec2(c.x, -c.y) / max(off, 1e-5);
  bool inside = all(greaterThan(t, 0.04 * size)) && all(lessThan(t, 0.96 * size));
  vec4 old = texelFetch(before, here, 0);
  if (inside) {
    color = vec4(blurred(t), 1.0);
    if (!fresh && old.a > 0.5) color.rgb = mix(old.rgb, color.rgb, 0.3);
  } else if (fresh) {
    vec2 away = t - lens.yz;
    vec2 edge = 0.46 * size / max(abs(away), vec2(1e-5));
    vec3 nearest = blurred(lens.yz + away * min(1.0, min(edge.x, edge.y)));
    vec3 mean = vec3(0.0);
    for (int i = 0; i < 9; i++) mean += blurred(size * (vec2(i % 3, i / 3) * 0.33 + 0.17)) / 9.0;
    color = vec4(mix(nearest, mean, smoothstep(0.6, -0.6, -c.z)), 0.0);
  } else if (old.a > 0.5) {
    color = old;
  } else {
    vec3 sum = vec3(0.0);
    for (int i = 0; i < 4; i++) {
      ivec2 p = here + ivec2[4](ivec2(1, 0), ivec2(-1, 0), ivec2(0, 1), ivec2(0, -1))[i];
      p.x = (p.x + whole.x) % whole.x;
      sum += texelFetch(before, ivec2(p.x, clamp(p.y, 0, whole.y - 1)), 0).rgb;
    }
    color = vec4(sum / 4.0, 0.0);
  }
}`;

/** What is remembered of a direction, behind everything. */
export const FAR = `
uniform sampler2D memory;
uniform mat4 unproject;
uniform bool plain;
in vec2 place;
out vec4 color;
void main() {
  vec3 d = normalize((unproject * vec4(place, 1.0, 1.0)).xyz);
  vec2 t = vec2(atan(d.x, -d.z) / 6.2831853 + 0.5, acos(clamp(d.y, -1.0, 1.0)) / 3.14159265);
  color = vec4(plain ? vec3(0.02) : texture(memory, t).rgb, 1.0);
}`;
