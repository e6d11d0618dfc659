"""Rigid bodies and their contacts, solved by MuJoCo.

MuJoCo is Z-up. Its world is ours turned by 90° about x, (x, y, z) → (x, −z, y); body frames stay ours.
That turn happens in this file and nowhere else. Bounces are not left to MuJoCo's soft contacts: an
impulse with the exact coefficient of restitution is applied where two things meet fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from elsewhere.scene.description import Vector3
    from elsewhere.scene.kinds import Collider

GRAVITY = 9.81
FASTEST = 25.0
"""m/s; no body of these small worlds moves faster, and a jolt that would is cut to it."""
FASTEST_TURN = 30.0
"""rad/s, the same for rotation."""
QUIET = 0.12
"""m/s; slower contacts do not bounce, so that things come to rest."""
SIDES = 24
"""Sides of the prism that stands in for a cylinder in contacts."""
WALLS = 40
"""Flat pieces that a round wall is made of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Solid:
    """What rigid motion needs to know of a body, at its real size (colliders already scaled)."""

    colliders: tuple[Collider, ...]
    mass: float
    position: Vector3
    orientation: tuple[float, float, float, float]
    velocity: Vector3 = (0.0, 0.0, 0.0)
    angular_velocity: Vector3 = (0.0, 0.0, 0.0)
    restitution: float = 0.3
    friction: float = 0.6
    fixed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Arena:
    """What bodies cannot leave: a floor at y = `floor` and a wall, "open", "disc" or "box" (half extents x, z)."""

    floor: float
    outline: str = "open"
    half_size: tuple[float, float] = (math.inf, math.inf)
    height: float = 1.0
    """Metres that the wall rises above y = 0."""


def rotation_matrix(q: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """(3, 3) of a unit quaternion xyzw."""
    x, y, z, w = np.asarray(q, np.float64) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def collider_volume(collider: Collider) -> float:
    """m³ of one primitive."""
    a, b, c = collider.half_size
    factor = {"box": 8.0, "sphere": 4.0 / 3.0 * math.pi, "ellipsoid": 4.0 / 3.0 * math.pi, "cylinder": 2.0 * math.pi}
    if collider.shape not in factor:
        raise ValueError(f'collider.shape must be one of {sorted(factor)}; got {collider.shape!r}; nearest is "box"')
    return factor[collider.shape] * a * b * c


def inertia_of(colliders: tuple[Collider, ...], mass: float) -> NDArray[np.float64]:
    """(3, 3) kg m² about the body's origin, as if its mass filled the colliders evenly."""
    total = sum(collider_volume(c) for c in colliders)
    inertia = np.zeros((3, 3))
    share = {"box": (1 / 3, 1 / 3), "sphere": (0.2, 0.2), "ellipsoid": (0.2, 0.2), "cylinder": (0.25, 1 / 3)}
    for c in colliders:
        part = mass * collider_volume(c) / total
        side, axial = share[c.shape]
        second = np.array([side, axial, side]) * np.asarray(c.half_size) ** 2
        turn = rotation_matrix(c.orientation)
        moment = turn @ np.diag(second) @ turn.T + np.outer(c.position, c.position)
        inertia += part * (np.trace(moment) * np.eye(3) - moment)
    return inertia


def to_mujoco_quaternion(q: tuple[float, ...]) -> tuple[float, float, float, float]:
    """xyzw in our world → wxyz in MuJoCo's."""
    x, y, z, w = q
    h = math.sqrt(0.5)
    return h * (w - x), h * (x + w), h * (y - z), h * (z + y)


def _numbers(*values: float) -> str:
    return " ".join(repr(float(v)) for v in values)


def _prism(collider: Collider) -> str:
    """Vertices of a many-sided prism in place of a cylinder: MuJoCo's own cylinder gives false depths when it stands
    exactly upright on a plane."""
    radius, half, _ = collider.half_size
    angles = [2.0 * math.pi * (k + 0.5) / SIDES for k in range(SIDES)]
    return _numbers(
        *(v for a in angles for h in (-half, half) for v in (radius * math.cos(a), h, radius * math.sin(a)))
    )


def _geom(collider: Collider, friction: float, name: str) -> str:
    a, b, c = collider.half_size
    x, y, z, w = collider.orientation
    size = {"box": (a, b, c), "sphere": (a,), "ellipsoid": (a, b, c)}
    kind = (
        f'mesh" mesh="{name}'
        if collider.shape == "cylinder"
        else f'{collider.shape}" size="{_numbers(*size[collider.shape])}'
    )
    return (
        f'<geom type="{kind}" pos="{_numbers(*collider.position)}" '
        f'quat="{_numbers(w, x, y, z)}" friction="{_numbers(friction, 0.005, 0.002)}" priority="1"/>'
    )


def _body(solid: Solid, name: str) -> str:
    x, y, z = solid.position
    head = f'<body pos="{_numbers(x, -z, y)}" quat="{_numbers(*to_mujoco_quaternion(solid.orientation))}">'
    geoms = "".join(_geom(c, solid.friction, f"{name}_{k}") for k, c in enumerate(solid.colliders))
    if solid.fixed:
        return head + geoms + "</body>"
    i = inertia_of(solid.colliders, solid.mass) + np.eye(3) * (1e-9 * solid.mass + 1e-12)
    full = _numbers(i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2])
    inertial = f'<inertial pos="0 0 0" mass="{solid.mass!r}" fullinertia="{full}"/>'
    return f"{head}<freejoint/>{inertial}{geoms}</body>"


def _wall(arena: Arena) -> str:
    low, high = arena.floor, arena.height
    middle, half = (low + high) / 2, (high - low) / 2
    width, length = arena.half_size
    if arena.outline == "box":
        sides = [
            (width + width, 0.0, width, 2 * length, 0.0),
            (-width - width, 0.0, width, 2 * length, 0.0),
            (0.0, length + length, 2 * width, length, 0.0),
            (0.0, -length - length, 2 * width, length, 0.0),
        ]
    elif arena.outline == "disc":
        thick = width
        piece = (width + 2 * thick) * math.tan(math.pi / WALLS)
        sides = []
        for i in range(WALLS):
            angle = 2 * math.pi * i / WALLS
            reach = width + thick
            sides.append((reach * math.cos(angle), reach * math.sin(angle), thick, piece, angle))
    else:
        sides = []
    return "".join(
        f'<geom type="box" size="{_numbers(sx, sy, half)}" pos="{_numbers(px, -py, middle)}" '
        f'quat="{_numbers(math.cos(a / 2), 0, 0, -math.sin(a / 2))}" friction="0.1 0.005 0.0001"/>'
        for px, py, sx, sy, a in sides
    )


def mjcf(solids: tuple[Solid, ...], arena: Arena, tick: float) -> str:
    """The MuJoCo model of a world, as XML text."""
    floor = f'<geom type="plane" size="0 0 1" pos="{_numbers(0, 0, arena.floor)}" friction="0.6 0.005 0.002"/>'
    meshes = "".join(
        f'<mesh name="b{i}_{k}" vertex="{_prism(c)}"/>'
        for i, s in enumerate(solids)
        for k, c in enumerate(s.colliders)
        if c.shape == "cylinder"
    )
    bodies = "".join(_body(s, f"b{i}") for i, s in enumerate(solids))
    return (
        f'<mujoco><compiler autolimits="true"/><option timestep="{tick!r}" gravity="0 0 {-GRAVITY}" '
        f'integrator="Euler" iterations="30"/><default><geom solref="{_numbers(2.2 * tick, 1.0)}" '
        f'condim="4"/></default><asset>{meshes}</asset><worldbody>{floor}{_wall(arena)}{bodies}'
        "</worldbody></mujoco>"
    )


@njit(cache=True, error_model="numpy")
def _read(qpos, qvel, free, position, orientation, velocity, spin):  # type: ignore[no-untyped-def]
    """MuJoCo's coordinates → ours; `free[m]` is the scene's index of the m-th moving body."""
    h = math.sqrt(0.5)
    for m in range(free.shape[0]):
        i, p, v = free[m], 7 * m, 6 * m
        position[i, 0], position[i, 1], position[i, 2] = qpos[p], qpos[p + 2], -qpos[p + 1]
        velocity[i, 0], velocity[i, 1], velocity[i, 2] = qvel[v], qvel[v + 2], -qvel[v + 1]
        e, f, g, k = qpos[p + 3], qpos[p + 4], qpos[p + 5], qpos[p + 6]
        w, x, y, z = h * (e + f), h * (f - e), h * (g + k), h * (k - g)
        orientation[i, 0], orientation[i, 1], orientation[i, 2], orientation[i, 3] = x, y, z, w
        # MuJoCo gives the spin in the body's own frame, which is also ours: turn it to the world
        a, b, c = qvel[v + 3], qvel[v + 4], qvel[v + 5]
        s, t, u = 2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)
        spin[i, 0] = a + w * s + y * u - z * t
        spin[i, 1] = b + w * t + z * s - x * u
        spin[i, 2] = c + w * u + x * t - y * s


@njit(cache=True, error_model="numpy")
def _load(applied, body, free, force, torque, gain, base_mass, base_inertia, mass, inertia, diagonal, added):  # type: ignore[no-untyped-def]
    """Forces (world, ours) → MuJoCo's; `added` kg of water move along without weighing anything."""
    for m in range(free.shape[0]):
        i = free[m]
        b = body[m]
        factor = 1.0 + gain * added[i] / base_mass[b]
        mass[b] = base_mass[b] + added[i]
        for k in range(3):
            inertia[b, k] = base_inertia[b, k] * factor
            # MuJoCo reads this instead for a body whose principal axes are its own
            diagonal[6 * m + k] = mass[b]
            diagonal[6 * m + 3 + k] = inertia[b, k]
        applied[b, 0] = force[i, 0]
        applied[b, 1] = -force[i, 2]
        applied[b, 2] = force[i, 1] + added[i] * GRAVITY
        applied[b, 3] = torque[i, 0]
        applied[b, 4] = -torque[i, 2]
        applied[b, 5] = torque[i, 1]


class Rigid:
    """All bodies of a world. Arrays are ours, in the scene's order, and read after each `step`:

    `position` (N, 3) m, `orientation` (N, 4) xyzw, `velocity` (N, 3) m/s, `angular_velocity` (N, 3) rad/s, world
    frame. `force` (N, 3) N and `torque` (N, 3) N m act at the centre of mass during the next `step`;
    `added_mass` (N,) kg is water that follows a body: it resists acceleration, not gravity.
    """

    def __init__(
        self, solids: tuple[Solid, ...], arena: Arena, tick: float, *, limit: tuple[float, float] | None = None
    ) -> None:
        import mujoco  # heavy, and only worlds that move need it

        self._mujoco = mujoco
        self._model = mujoco.MjModel.from_xml_string(mjcf(solids, arena, tick))
        self._data = mujoco.MjData(self._model)
        count = len(solids)
        self.position = np.array([s.position for s in solids], np.float64).reshape(count, 3)
        self.orientation = np.array([s.orientation for s in solids], np.float64).reshape(count, 4)
        self.velocity = np.array([s.velocity for s in solids], np.float64).reshape(count, 3)
        self.angular_velocity = np.array([s.angular_velocity for s in solids], np.float64).reshape(count, 3)
        self.force, self.torque = np.zeros((2, count, 3))
        self.added_mass = np.zeros(count)
        self.free = np.array([i for i, s in enumerate(solids) if not s.fixed], np.int64)
        self._tables(solids)
        half = limit if limit is not None else arena.half_size
        self._half = np.array([half[0], half[1]], np.float64)
        self._round, self._floor = arena.outline == "disc", float(arena.floor)
        self._place()

    def _tables(self, solids: tuple[Solid, ...]) -> None:
        model = self._model
        self._bodies = self.free + 1
        self._joint = np.full(model.nbody, -1, np.int64)
        self._joint[self._bodies] = 6 * np.arange(len(self.free))
        self._restitution = np.ones(model.nbody)
        self._restitution[1:] = [min(max(s.restitution, 0.0), 0.98) for s in solids]
        self._base_mass, self._base_inertia = model.body_mass.copy(), model.body_inertia.copy()
        self._last = self._data.qpos.reshape(-1, 7).copy()

    def _place(self) -> None:
        qvel = self._data.qvel
        for m, i in enumerate(self.free):
            vx, vy, vz = self.velocity[i]
            qvel[6 * m : 6 * m + 3] = vx, -vz, vy
            qvel[6 * m + 3 : 6 * m + 6] = rotation_matrix(tuple(self.orientation[i])).T @ self.angular_velocity[i]
        self._mujoco.mj_forward(self._model, self._data)
        self._refresh()

    def _refresh(self) -> None:
        data = self._data
        _read(data.qpos, data.qvel, self.free, self.position, self.orientation, self.velocity, self.angular_velocity)

    def inertia(self) -> NDArray[np.float64]:
        """(N,) kg m², mean principal moment of each moving body; 0 for fixed ones."""
        mean = np.zeros(len(self.position))
        mean[self.free] = self._base_inertia[self._bodies].mean(axis=1)
        return mean

    def kick(self, index: int, velocity: Vector3, spin: Vector3 = (0.0, 0.0, 0.0)) -> None:
        """Adds to one moving body's velocity (m/s) and spin (rad/s), world frame."""
        m = int(np.searchsorted(self.free, index))
        if m >= len(self.free) or self.free[m] != index:
            return
        self._data.qvel[6 * m : 6 * m + 3] += velocity[0], -velocity[2], velocity[1]
        self._data.qvel[6 * m + 3 : 6 * m + 6] += rotation_matrix(tuple(self.orientation[index])).T @ np.asarray(spin)
        self._refresh()

    def take_over(self, other: Rigid, pairs: list[tuple[int, int]]) -> None:
        """Body i of each pair (i, j) goes on as body j of `other` is now."""
        for i, j in pairs:
            m = int(np.searchsorted(self.free, i))
            if m >= len(self.free) or self.free[m] != i:
                continue
            n = int(np.searchsorted(other.free, j))
            self._data.qpos[7 * m : 7 * m + 7] = other._data.qpos[7 * n : 7 * n + 7]
            self._data.qvel[6 * m : 6 * m + 6] = other._data.qvel[6 * n : 6 * n + 6]
            self.added_mass[i] = other.added_mass[j]
        self._mujoco.mj_forward(self._model, self._data)
        self._last = self._data.qpos.reshape(-1, 7).copy()
        self._refresh()

    def step(self) -> None:
        """One tick under `force` and `torque`."""
        if len(self.free) == 0:
            return
        mujoco, model, data = self._mujoco, self._model, self._data
        _load(
            data.xfrc_applied,
            self._bodies,
            self.free,
            self.force,
            self.torque,
            0.5,
            self._base_mass,
            self._base_inertia,
            model.body_mass,
            model.body_inertia,
            model.dof_M0,
            self.added_mass,
        )
        mujoco.mj_step1(model, data)
        if data.ncon:
            self._impacts()
        mujoco.mj_step2(model, data)
        self._guard()
        self._refresh()

    def _impacts(self) -> None:
        """Newton's impact law for every contact that closes fast."""
        model, contact = self._model, self._data.contact
        owner = model.geom_bodyid[contact.geom]
        closing = self._velocity_at(owner[:, 1], contact) - self._velocity_at(owner[:, 0], contact)
        hits = np.flatnonzero((closing < -QUIET) & (contact.dist <= 0.0))
        if len(hits) == 0:
            return
        where, frame, gap = contact.pos.copy(), contact.frame[:, :3].copy(), contact.dist.copy()
        for c in hits:
            self._impact(owner[c], where[c], frame[c], float(gap[c]))
        self._mujoco.mj_fwdVelocity(model, self._data)

    def _velocity_at(self, body: NDArray[np.int32], contact: Any) -> NDArray[np.float64]:
        """(C,) m/s along each contact's normal of the given bodies' material there; 0 for what does not move."""
        data = self._data
        joint = self._joint[body]
        twist = data.qvel[np.maximum(joint, 0)[:, None] + np.arange(6)] * (joint >= 0)[:, None]
        spin = np.einsum("cij,cj->ci", data.xmat[body].reshape(-1, 3, 3), twist[:, 3:])
        there = twist[:, :3] + np.cross(spin, contact.pos - data.xpos[body])
        return np.einsum("ci,ci->c", there, contact.frame[:, :3])

    def _impact(
        self, bodies: NDArray[np.int32], where: NDArray[np.float64], normal: NDArray[np.float64], gap: float
    ) -> None:
        """One impulse. The overlap that a tick brings is allowed for: e² of the drop height comes back, not more."""
        data, model = self._data, self._model
        closing, softness, bounciness, answers = 0.0, 0.0, 1.0, []
        for b, sign in zip(bodies, (-1.0, 1.0), strict=True):
            v = int(self._joint[b])
            if v < 0:
                continue
            turn, axes = data.xmat[b].reshape(3, 3), data.ximat[b].reshape(3, 3)
            lever = np.cross(where - data.xpos[b], normal)
            spun = axes @ ((axes.T @ lever) / model.body_inertia[b])
            closing += sign * float(normal @ data.qvel[v : v + 3] + lever @ (turn @ data.qvel[v + 3 : v + 6]))
            softness += 1.0 / float(model.body_mass[b]) + float(lever @ spun)
            bounciness = min(bounciness, float(self._restitution[b]))
            answers.append((v, sign, normal / model.body_mass[b], turn.T @ spun))
        if closing > -QUIET:
            return
        # against what stands still, gravity has acted over the overlap; over half a tick too, as ticks are symplectic
        pull = GRAVITY * abs(float(normal[2])) if len(answers) == 1 else 0.0
        half, fallen = 0.5 * pull * model.opt.timestep, 2.0 * pull * min(-gap, 0.05)
        impact = (closing - half) ** 2 - fallen
        if impact < QUIET * QUIET:
            return
        after = math.sqrt(bounciness * bounciness * impact + fallen) + half if bounciness > 0.0 else 0.0
        for v, sign, push, spin in answers:
            impulse = sign * (after - closing) / softness
            data.qvel[v : v + 3] += impulse * push
            data.qvel[v + 3 : v + 6] += impulse * spin

    def _guard(self) -> None:
        """Keeps every moving body finite, slow enough and inside (MuJoCo's axes). Sound states pass at once."""
        pose, twist = self._data.qpos.reshape(-1, 7), self._data.qvel.reshape(-1, 6)
        level = pose[:, :2] / self._half
        outside = (level * level).sum(axis=1) > 1.0 if self._round else np.abs(level).max(axis=1) > 1.0
        if (
            np.abs(twist).max() < FASTEST
            and not outside.any()
            and pose[:, 2].min() > self._floor
            and np.isfinite(pose).all()
        ):
            self._last[:] = pose
            return
        for m in range(len(pose)):
            self._rescue(pose[m], twist[m], self._last[m])
        self._last[:] = pose

    def _rescue(self, pose: NDArray[np.float64], twist: NDArray[np.float64], last: NDArray[np.float64]) -> None:
        if not (np.isfinite(pose).all() and np.isfinite(twist).all()):
            pose[:], twist[:] = last, 0.0
        twist[:3] *= min(1.0, FASTEST / max(float(np.linalg.norm(twist[:3])), 1e-9))
        twist[3:] *= min(1.0, FASTEST_TURN / max(float(np.linalg.norm(twist[3:])), 1e-9))
        level = pose[:2] / self._half
        far = float(np.linalg.norm(level)) if self._round else float(np.abs(level).max())
        if far > 1.0:
            pose[:2] = pose[:2] / far if self._round else np.clip(pose[:2], -self._half, self._half)
            twist[:2] = 0.0
        if pose[2] < self._floor:
            pose[2] = self._floor
            twist[2] = max(float(twist[2]), 0.0)
