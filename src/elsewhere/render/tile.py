"""Rays of one tile of the picture, traced together: 8 by 8 pixels walk each tree once.

A tile's rays are neighbours, so they mostly meet the same boxes and triangles. A box is tested once against the
range that the rays span, a triangle against all of them in a loop without branches, which the compiler turns into
vector instructions. A tile's numbers lie in one flat array, RAYS for each quantity, at constant offsets: only so
can the compiler see that they do not overlap. `intersect` has the same for single rays.
"""

from __future__ import annotations

from elsewhere.render.intersect import FAR, MOVES, RIGID, ROOT, SLOTS, inverse
from elsewhere.render.noise import device, inlined

SIDE = 8
"""Pixels of a tile's edge."""
RAYS = SIDE * SIDE
T, TRIANGLE, INSTANCE, U, V = 0, RAYS, 2 * RAYS, 3 * RAYS, 4 * RAYS
"""What was hit: distance (FAR: nothing), triangle, instance (−1: none) and barycentrics; numbers as float64."""
X, Y, Z = 5 * RAYS, 6 * RAYS, 7 * RAYS
"""What differs from ray to ray, in the world: the direction of rays from the eye, the origin of rays to the sun."""
AX, AY, AZ = 8 * RAYS, 9 * RAYS, 10 * RAYS
"""The same in the frame of the instance at hand."""
LOW, HIGH = 11 * RAYS, 12 * RAYS
"""Least and greatest of A so far: SIDE numbers of each axis."""
OPEN, SKIP = 13 * RAYS, 14 * RAYS
"""1 while a ray to the sun is free, 0 where there is none or it is blocked; the instance that does not block it."""
OWN = 15 * RAYS
"""From here on the tile's owner keeps what it likes."""


@device
def carry(rays, m, i, w):  # type: ignore[no-untyped-def]
    """Moves the rays' own triples by 3×4 matrix `i` into A: points for w = 1, directions for w = 0."""
    a, b, c, d = m[i, 0], m[i, 1], m[i, 2], m[i, 3] * w
    e, f, g, h = m[i, 4], m[i, 5], m[i, 6], m[i, 7] * w
    k, n, o, q = m[i, 8], m[i, 9], m[i, 10], m[i, 11] * w
    for p in range(RAYS):
        x = rays[X + p]
        y = rays[Y + p]
        z = rays[Z + p]
        rays[AX + p] = a * x + b * y + c * z + d
        rays[AY + p] = e * x + f * y + g * z + h
        rays[AZ + p] = k * x + n * y + o * z + q


@device
def span(rays):  # type: ignore[no-untyped-def]
    """The least of each coordinate of A, and the greatest (6)."""
    for lane in range(SIDE):
        # Lanes first: a single running minimum would go number by number.
        lx, ly, lz = rays[AX + lane], rays[AY + lane], rays[AZ + lane]
        hx, hy, hz = lx, ly, lz
        for row in range(1, SIDE):
            x, y, z = rays[AX + row * SIDE + lane], rays[AY + row * SIDE + lane], rays[AZ + row * SIDE + lane]
            lx, ly, lz = min(lx, x), min(ly, y), min(lz, z)
            hx, hy, hz = max(hx, x), max(hy, y), max(hz, z)
        rays[LOW + lane] = lx
        rays[LOW + SIDE + lane] = ly
        rays[LOW + 2 * SIDE + lane] = lz
        rays[HIGH + lane] = hx
        rays[HIGH + SIDE + lane] = hy
        rays[HIGH + 2 * SIDE + lane] = hz
    lx, ly, lz = rays[LOW], rays[LOW + SIDE], rays[LOW + 2 * SIDE]
    hx, hy, hz = rays[HIGH], rays[HIGH + SIDE], rays[HIGH + 2 * SIDE]
    for lane in range(1, SIDE):
        lx, hx = min(lx, rays[LOW + lane]), max(hx, rays[HIGH + lane])
        ly, hy = min(ly, rays[LOW + SIDE + lane]), max(hy, rays[HIGH + SIDE + lane])
        lz, hz = min(lz, rays[LOW + 2 * SIDE + lane]), max(hz, rays[HIGH + 2 * SIDE + lane])
    return lx, ly, lz, hx, hy, hz


@device
def farthest(rays):  # type: ignore[no-untyped-def]
    """The greatest distance that a ray has come to."""
    for lane in range(SIDE):
        far = rays[T + lane]
        for row in range(1, SIDE):
            far = max(far, rays[T + row * SIDE + lane])
        rays[LOW + lane] = far
    far = rays[LOW]
    for lane in range(1, SIDE):
        far = max(far, rays[LOW + lane])
    return far


@inlined
def slopes(low, high):  # type: ignore[no-untyped-def]
    """1/high and 1/low of an axis on which directions span low…high, and their sign: 0 when both occur."""
    if low > 1e-12:
        return 1.0 / high, 1.0 / low, 1
    if high < -1e-12:
        return 1.0 / high, 1.0 / low, -1
    return 1.0 / max(high, 1e-12), 1.0 / min(low, -1e-12), 0


@inlined
def reach(e, f, a, b, sign):  # type: ignore[no-untyped-def]
    """Where the first ray enters and the last leaves the slab e…f (from the rays' origin), given `slopes`."""
    if sign > 0:
        return min(e * a, e * b), max(f * a, f * b)
    if sign < 0:
        return min(f * a, f * b), max(e * a, e * b)
    return max(e * a, f * b), FAR


@inlined
def meet(rays, e, k, i, ox, oy, oz):  # type: ignore[no-untyped-def]
    """Rays from o along A against triangle `k` of instance `i`: all products with o are those of the triangle."""
    ax, ay, az = e[k, 3], e[k, 4], e[k, 5]
    bx, by, bz = e[k, 6], e[k, 7], e[k, 8]
    sx, sy, sz = ox - e[k, 0], oy - e[k, 1], oz - e[k, 2]
    nx, ny, nz = by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax
    mx, my, mz = by * sz - bz * sy, bz * sx - bx * sz, bx * sy - by * sx
    qx, qy, qz = sy * az - sz * ay, sz * ax - sx * az, sx * ay - sy * ax
    height = bx * qx + by * qy + bz * qz
    triangle = float(k)
    instance = float(i)
    for p in range(RAYS):
        x = rays[AX + p]
        y = rays[AY + p]
        z = rays[AZ + p]
        # A ray in the triangle's plane divides by zero; what is not a number hits nothing.
        inv = 1.0 / (x * nx + y * ny + z * nz)
        u = (x * mx + y * my + z * mz) * inv
        v = (x * qx + y * qy + z * qz) * inv
        t = height * inv
        best = rays[T + p]
        hit = (u >= 0.0) & (v >= 0.0) & (u + v <= 1.0) & (t > 0.0) & (t < best)
        rays[T + p] = t if hit else best
        rays[TRIANGLE + p] = triangle if hit else rays[TRIANGLE + p]
        rays[INSTANCE + p] = instance if hit else rays[INSTANCE + p]
        rays[U + p] = u if hit else rays[U + p]
        rays[V + p] = v if hit else rays[V + p]


@inlined
def beam(bounds, node, x, y, z, ax, bx, cx, ay, by, cy, az, bz, cz):  # type: ignore[no-untyped-def]
    """Where the first ray from (x, y, z) may enter box `node`, given `slopes`; FAR where all miss it."""
    near, stop = reach(bounds[node, 0] - x, bounds[node, 3] - x, ax, bx, cx)
    low, high = reach(bounds[node, 1] - y, bounds[node, 4] - y, ay, by, cy)
    near, stop = max(near, low), min(stop, high)
    low, high = reach(bounds[node, 2] - z, bounds[node, 5] - z, az, bz, cz)
    near, stop = max(near, low), min(stop, high)
    # Rounding must not lose a ray that grazes a flat box.
    return FAR if stop < 0.0 or near > stop + 1e-9 * stop else near


@device
def closest_of(rays, bounds, links, leaf, triangles, to_body, box, info, ox, oy, oz):  # type: ignore[no-untyped-def]
    """The nearest triangle on each ray from o along X, nearer than T. A must hold X too."""
    m = to_body
    lx, ly, lz, hx, hy, hz = span(rays)
    wax, wbx, wcx = slopes(lx, hx)
    way, wby, wcy = slopes(ly, hy)
    waz, wbz, wcz = slopes(lz, hz)
    moved = False
    far = farthest(rays)
    for i in range(info.shape[0]):
        if beam(box, i, ox, oy, oz, wax, wbx, wcx, way, wby, wcy, waz, wbz, wcz) >= far:
            continue
        if moved or info[i, MOVES] == RIGID:
            carry(rays, m, i, 0.0)
            lx, ly, lz, hx, hy, hz = span(rays)
            moved = info[i, MOVES] == RIGID
        ax, bx, cx = slopes(lx, hx)
        ay, by, cy = slopes(ly, hy)
        az, bz, cz = slopes(lz, hz)
        px = m[i, 0] * ox + m[i, 1] * oy + m[i, 2] * oz + m[i, 3]
        py = m[i, 4] * ox + m[i, 5] * oy + m[i, 6] * oz + m[i, 7]
        pz = m[i, 8] * ox + m[i, 9] * oy + m[i, 10] * oz + m[i, 11]
        octant = (1 if lx + hx < 0.0 else 0) + (2 if ly + hy < 0.0 else 0) + (4 if lz + hz < 0.0 else 0)
        node = info[i, ROOT]
        while node >= 0:
            if beam(bounds, node, px, py, pz, ax, bx, cx, ay, by, cy, az, bz, cz) >= far:
                node = links[octant, node, 1]
                continue
            count = leaf[node, 1]
            if count == 0:
                node = links[octant, node, 0]
                continue
            start = leaf[node, 0]
            for k in range(start, start + count):
                meet(rays, triangles, k, i, px, py, pz)
            far = farthest(rays)
            node = links[octant, node, 1]


@inlined
def shadow(rays, e, k, i, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Rays from A along d against triangle `k` of instance `i`: all products with d are those of the triangle."""
    ax, ay, az = e[k, 3], e[k, 4], e[k, 5]
    bx, by, bz = e[k, 6], e[k, 7], e[k, 8]
    px, py, pz = dy * bz - dz * by, dz * bx - dx * bz, dx * by - dy * bx
    det = ax * px + ay * py + az * pz
    if det == 0.0:
        return
    inv = 1.0 / det
    px, py, pz = px * inv, py * inv, pz * inv
    wx, wy, wz = (ay * dz - az * dy) * inv, (az * dx - ax * dz) * inv, (ax * dy - ay * dx) * inv
    nx, ny, nz = (ay * bz - az * by) * inv, (az * bx - ax * bz) * inv, (ax * by - ay * bx) * inv
    cx, cy, cz = e[k, 0], e[k, 1], e[k, 2]
    instance = float(i)
    for p in range(RAYS):
        x = rays[AX + p] - cx
        y = rays[AY + p] - cy
        z = rays[AZ + p] - cz
        u = x * px + y * py + z * pz
        v = x * wx + y * wy + z * wz
        t = x * nx + y * ny + z * nz
        hit = (u >= 0.0) & (v >= 0.0) & (u + v <= 1.0) & (t > 0.0) & (rays[SKIP + p] != instance)
        rays[OPEN + p] = 0.0 if hit else rays[OPEN + p]


@device
def any_open(rays):  # type: ignore[no-untyped-def]
    """Whether a ray to the sun is still free."""
    for lane in range(SIDE):
        total = 0.0
        for row in range(SIDE):
            total += rays[OPEN + row * SIDE + lane]
        rays[LOW + lane] = total
    total = 0.0
    for lane in range(SIDE):
        total += rays[LOW + lane]
    return total > 0.0


@inlined
def sweep(bounds, node, fx, fy, fz, gx, gy, gz, ix, iy, iz):  # type: ignore[no-untyped-def]
    """Whether rays with one inverse direction i may meet box `node`: f and g are the corners of their origins'
    box that come first to the near and last to the far sides."""
    sx, sy, sz = (0 if ix > 0.0 else 3), (1 if iy > 0.0 else 4), (2 if iz > 0.0 else 5)
    near = (bounds[node, sx] - fx) * ix
    stop = (bounds[node, 3 - sx] - gx) * ix
    near = max(near, (bounds[node, sy] - fy) * iy)
    stop = min(stop, (bounds[node, 5 - sy] - gy) * iy)
    near = max(near, (bounds[node, sz] - fz) * iz)
    stop = min(stop, (bounds[node, 7 - sz] - gz) * iz)
    return stop >= 0.0 and near <= stop + 1e-9 * stop


@inlined
def corners(low, high, inv):  # type: ignore[no-untyped-def]
    """Of low…high what comes first to a box, and what last, along a direction of inverse `inv`."""
    return (high, low) if inv > 0.0 else (low, high)


@device
def block(rays, bounds, links, leaf, triangles, to_body, box, info, slot, materials_of, clear, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Closes the OPEN rays from X along d that an opaque triangle blocks. A must hold X too. Rays that are not
    open must start where others do, so as not to widen what all span."""
    m = to_body
    lx, ly, lz, hx, hy, hz = span(rays)
    wx, wy, wz = inverse(dx), inverse(dy), inverse(dz)
    wfx, wgx = corners(lx, hx, wx)
    wfy, wgy = corners(ly, hy, wy)
    wfz, wgz = corners(lz, hz, wz)
    moved = False
    for i in range(info.shape[0]):
        if not sweep(box, i, wfx, wfy, wfz, wgx, wgy, wgz, wx, wy, wz):
            continue
        if moved or info[i, MOVES] == RIGID:
            carry(rays, m, i, 1.0)
            lx, ly, lz, hx, hy, hz = span(rays)
            moved = info[i, MOVES] == RIGID
        qx = m[i, 0] * dx + m[i, 1] * dy + m[i, 2] * dz
        qy = m[i, 4] * dx + m[i, 5] * dy + m[i, 6] * dz
        qz = m[i, 8] * dx + m[i, 9] * dy + m[i, 10] * dz
        ix, iy, iz = inverse(qx), inverse(qy), inverse(qz)
        fx, gx = corners(lx, hx, ix)
        fy, gy = corners(ly, hy, iy)
        fz, gz = corners(lz, hz, iz)
        octant = (1 if ix < 0.0 else 0) + (2 if iy < 0.0 else 0) + (4 if iz < 0.0 else 0)
        node = info[i, ROOT]
        while node >= 0:
            if not sweep(bounds, node, fx, fy, fz, gx, gy, gz, ix, iy, iz):
                node = links[octant, node, 1]
                continue
            count = leaf[node, 1]
            if count == 0:
                node = links[octant, node, 0]
                continue
            start = leaf[node, 0]
            for k in range(start, start + count):
                if clear[materials_of[info[i, SLOTS] + slot[k]]] == 0:
                    shadow(rays, triangles, k, i, qx, qy, qz)
            if not any_open(rays):
                return
            node = links[octant, node, 1]
