"""What a chip is, as data: lengths in bytes, rows and hops, times in cycles, and where each number is from.

Knows nothing of programs. Every value has a source; those marked `assumed` are not published and may be swept.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

ISCA20 = "Abts et al., Think Fast: A Tensor Streaming Processor (ISCA 2020)"
ISCA22 = "Abts et al., A Software-defined Tensor Streaming Multiprocessor (ISCA 2022)"
CARDS = "cycles reported from programs that ran on real cards"
DERIVED = "derived from published values"
ASSUMED = "assumed"
VENDOR = "vendor pages"
LARGEST_MEMORY = 1 << 36
"""Bytes of a chip's memory at most, since a simulation holds them all."""


class MachineError(ValueError):
    """A machine description that cannot be; the message names the field, the rule and what was given."""


def _known(default: Any, unit: str, source: str, low: float = 1) -> Any:
    return field(default=default, metadata={"unit": unit, "source": source, "low": low})


@dataclass(frozen=True, kw_only=True, slots=True)
class TspMachine:
    """One chip and its links. Distances are hops from the vector unit, which stands in the middle."""

    name: str = field(default="groqchip1", metadata={"unit": "", "source": VENDOR, "low": 0})
    clock_hz: float = _known(900e6, "Hz", VENDOR)
    superlanes: int = _known(20, "superlanes", ISCA20)
    lanes_per_superlane: int = _known(16, "lanes", ISCA20)
    streams: int = _known(32, "streams each way", ISCA20)
    slices_per_hemisphere: int = _known(44, "slices", ISCA20)
    slices_per_hop: int = _known(4, "slices", ISCA20)
    rows_per_slice: int = _known(8192, "rows of 320 B", ISCA20)
    banks_per_slice: int = _known(2, "banks", ISCA20)
    planes_per_hemisphere: int = _known(2, "planes", ISCA20)
    weight_streams: int = _known(16, "streams a plane", ISCA20)
    float_rows: int = _known(160, "rows of an f16 tile", ISCA20)
    alus: int = _known(16, "units a lane", ISCA20)
    transposers: int = _known(2, "units a hemisphere", ISCA20)
    distributors: int = _known(4, "units a hemisphere", ISCA20)
    permutors: int = _known(1, "units a hemisphere", ISCA20)
    shifters: int = _known(4, "units a hemisphere, each for a group of streams", ASSUMED)
    accumulator_rows: int = _known(256, "rows a plane", ASSUMED)
    operand_delay: int = _known(192, "cycles that an operand of the vector unit may wait", ASSUMED, 0)
    instruction_bytes: int = _known(16, "bytes", ISCA20)

    memory_read: int = _known(1, "cycles", CARDS)
    memory_write: int = _known(1, "cycles", ASSUMED)
    vector_entry: int = _known(4, "cycles", CARDS)
    vector_operation: int = _known(3, "cycles", CARDS)
    vector_function: int = _known(6, "cycles of exp, tanh, rsqrt and their like", ASSUMED)
    switch_shift: int = _known(4, "cycles", CARDS)
    switch_permute: int = _known(6, "cycles", ASSUMED)
    switch_distribute: int = _known(2, "cycles", CARDS)
    switch_transpose: int = _known(4, "cycles after the last of 16 rows", CARDS)
    weights_install: int = _known(3, "cycles", CARDS)
    matrix_multiply: int = _known(13, "cycles", CARDS)
    matrix_drain: int = _known(34, "cycles", CARDS)
    switch_to_matrix: int = _known(9, "hops", CARDS)
    matrix_to_vector: int = _known(19, "hops", CARDS)

    link_queues: int = _known(3, "instruction queues a hemisphere for links: what 144 leave", DERIVED)
    link_buffer: int = _known(64, "packets that may wait at a link", ASSUMED)
    links_in_node: int = _known(7, "links", ISCA22, 0)
    links_global: int = _known(4, "links", ISCA22, 0)
    link_bits_per_second: float = _known(100e9, "bit/s", ISCA22)
    packet_bytes: int = _known(328, "bytes on the wire for a vector", ISCA22)
    link_latency: float = _known(217.0, "cycles, mean", ISCA22)
    link_latency_low: int = _known(209, "cycles", ISCA22)
    link_latency_high: int = _known(228, "cycles", ISCA22)
    hop_seconds: float = _known(722e-9, "s a hop when planning", ISCA22, 0)
    counter_period: int = _known(252, "cycles, under 256", ASSUMED)
    chips_per_node: int = _known(8, "chips", ISCA22)
    nodes_per_rack: int = _known(9, "nodes", ISCA22)
    racks: int = _known(145, "racks", ISCA22)
    host_latency: float = _known(10e-6, "s", VENDOR, 0)
    host_bytes_per_second: float = _known(24e9, "bytes/s", VENDOR)
    host_choice: float = _known(10e-6, "s a token in which the host chooses the next one", ASSUMED, 0)
    watts: float = _known(215.0, "W a chip, average", VENDOR, 0)
    sources: tuple[tuple[str, str], ...] = field(default=(), metadata={"unit": "", "source": "", "low": 0})
    """(field, where its value is from) for what differs from the first chip."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple((str(a), str(b)) for a, b in self.sources))
        for f in values():
            value = getattr(self, f.name)
            wanted: Any = {"int": int, "float": (int, float), "str": str}[str(f.type)]
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise MachineError(f"{f.name} must be {f.type}, got {value!r}")
            if f.type != "str" and not f.metadata["low"] <= value < 1e15:
                raise MachineError(f"{f.name} must be at least {f.metadata['low']} {f.metadata['unit']}, got {value!r}")
        limits = (("streams", 256), ("lanes", 1 << 15), ("rows_per_slice", 1 << 20), ("slices", 1 << 12))
        for name, most in limits:
            if getattr(self, name) > most:
                raise MachineError(f"{name} must be at most {most}, got {getattr(self, name)!r}")
        if self.weight_streams > self.streams:
            raise MachineError(f"weight_streams must be at most streams ({self.streams}), got {self.weight_streams}")
        if self.lanes % 16:
            raise MachineError(f"lanes must be whole blocks of 16, which transposers turn, got {self.lanes}")
        if self.memory_bytes > LARGEST_MEMORY:
            raise MachineError(f"memory must be at most {LARGEST_MEMORY >> 30} GiB, got {self.memory_bytes >> 30} GiB")
        if self.rows_per_slice % self.banks_per_slice:
            raise MachineError(f"rows_per_slice must be whole banks, got {self.rows_per_slice}/{self.banks_per_slice}")
        if 2 * self.float_rows > self.lanes:
            raise MachineError(f"float_rows must be at most {self.lanes // 2}, got {self.float_rows}")

    @property
    def lanes(self) -> int:
        """Bytes of a vector."""
        return self.superlanes * self.lanes_per_superlane

    @property
    def slices(self) -> int:
        return 2 * self.slices_per_hemisphere

    @property
    def planes(self) -> int:
        return 2 * self.planes_per_hemisphere

    @property
    def bank_rows(self) -> int:
        return self.rows_per_slice // self.banks_per_slice

    @property
    def memory_hops(self) -> int:
        """Hops from the vector unit to the farthest slice."""
        return -(-self.slices_per_hemisphere // self.slices_per_hop)

    @property
    def memory_bytes(self) -> int:
        return self.slices * self.rows_per_slice * self.lanes

    @property
    def switch_place(self) -> int:
        """Hops from the vector unit to the switch unit, one behind the farthest slices."""
        return self.memory_hops + 1

    @property
    def matrix_place(self) -> int:
        """Hops from the vector unit to where activations and weights enter the matrix unit."""
        return self.memory_hops + self.switch_to_matrix

    def slice_place(self, number: int) -> int:
        """Signed hops: slices 0…43 are west, nearest first, 44…87 east."""
        side, index = divmod(number, self.slices_per_hemisphere)
        distance = 1 + index // self.slices_per_hop
        return distance if side else -distance

    @property
    def peak_int8(self) -> float:
        """Multiplications and additions a second."""
        return 2.0 * self.planes * self.lanes**2 * self.clock_hz

    @property
    def peak_float16(self) -> float:
        return 2.0 * self.planes_per_hemisphere * self.float_rows * self.lanes * self.clock_hz

    @property
    def packet_cycles(self) -> float:
        """Cycles that one vector occupies a link."""
        return self.packet_bytes * 8 / self.link_bits_per_second * self.clock_hz

    @property
    def packet_time(self) -> int:
        """Whole cycles that one vector occupies a link."""
        return math.ceil(self.packet_cycles)

    @property
    def links(self) -> int:
        return self.links_in_node + self.links_global

    def link_side(self, link: int) -> int:
        """The hemisphere at whose switch unit a link ends (assumed): links in turn, west first."""
        return link % 2

    @property
    def largest_system(self) -> int:
        return self.chips_per_node * self.nodes_per_rack * self.racks

    def digest(self) -> str:
        """Tells programs for other machines apart."""
        import hashlib

        text = ";".join(f"{f.name}={getattr(self, f.name)!r}" for f in values())
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def changed(self, **changes: Any) -> TspMachine:
        return dataclasses.replace(self, **changes)


def values() -> tuple[dataclasses.Field[Any], ...]:
    """Fields that describe the chip."""
    return tuple(f for f in fields(TspMachine) if f.name != "sources")


GROQCHIP1 = TspMachine()
"""The first chip, as far as it is public."""


_LP30: dict[str, Any] = {
    "clock_hz": 1200e6,
    "rows_per_slice": 18432,
    "accumulator_rows": 512,
    "link_bits_per_second": 112e9 * 8,
    "nodes_per_rack": 32,
    "racks": 40,
    "watts": 300.0,
}
LP30 = TspMachine(name="lp30-public", sources=tuple((name, ASSUMED) for name in _LP30), **_LP30)
"""A successor, to show that nothing is hard-wired. Every value in which it differs from the first chip is assumed: no
source of them has been read yet."""

MACHINES = {m.name: m for m in (GROQCHIP1, LP30)}


def source_of(machine: TspMachine, name: str) -> str:
    """Where a value is from: what the machine itself says, or the first chip's source where it is the same value."""
    own = dict(machine.sources).get(name)
    if own is not None:
        return own
    first = next(f for f in values() if f.name == name)
    return str(first.metadata["source"]) if getattr(machine, name) == getattr(GROQCHIP1, name) else ASSUMED


def assumed_fields(machine: TspMachine = GROQCHIP1) -> tuple[str, ...]:
    """Names of values that are not published; where another machine differs and names no source, it is assumed."""
    return tuple(f.name for f in values() if f.name != "name" and source_of(machine, f.name) == ASSUMED)


def load_machine(name: str | Path) -> TspMachine:
    """A machine by name, or from a TOML file whose keys are fields, with an optional `base` to start from.

    A field is a value, or a table with `value`, `source` and `unit`, which must then be the field's own. Raises
    MachineError for unknown names and keys, values that cannot be, and files that are no TOML.
    """
    if str(name) in MACHINES:
        return MACHINES[str(name)]
    path = Path(name)
    if path.suffix != ".toml":
        near = difflib.get_close_matches(str(name), MACHINES, 1)
        raise MachineError(
            f"machine must be one of {sorted(MACHINES)} or a .toml file, got {str(name)!r}"
            + (f"; nearest is {near[0]!r}" if near else "")
        )
    if not path.is_file():
        raise MachineError(f"there is no file {path}")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MachineError(f"{path.name} is no TOML file: {error}") from error
    except OSError as error:
        raise MachineError(f"{path.name} cannot be read: {error.strerror}") from error
    base = given.pop("base", "groqchip1")
    if not isinstance(base, str) or base not in MACHINES:
        raise MachineError(f"base must be one of {sorted(MACHINES)}, got {base!r}")
    known = {f.name: f for f in values()}
    found: dict[str, Any] = {}
    sources = dict(MACHINES[base].sources)
    for key, entry in given.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise MachineError(
                f"{path.name}: there is no field {key!r}" + (f"; nearest is {near[0]!r}" if near else "")
            )
        found[key], source = _entry(path.name, key, entry, str(known[key].metadata["unit"]))
        if key != "name":
            sources[key] = source
    return MACHINES[base].changed(**{"name": path.stem, **found, "sources": tuple(sources.items())})


def _entry(file: str, key: str, entry: Any, unit: str) -> tuple[Any, str]:
    """A field's value and source."""
    if not isinstance(entry, dict):
        return entry, ASSUMED
    for name in entry:
        if name not in ("value", "unit", "source"):
            raise MachineError(f"{file}: {key} has value, unit and source, got {name!r}")
    if "value" not in entry:
        raise MachineError(f"{file}: {key} needs a value")
    if entry.get("unit", unit) != unit:
        raise MachineError(f"{file}: {key} is in {unit!r}, got {entry['unit']!r}")
    source = entry.get("source", ASSUMED)
    if not isinstance(source, str) or not source:
        raise MachineError(f"{file}: the source of {key} must be text, got {source!r}")
    return entry["value"], source


def to_toml(machine: TspMachine) -> str:
    """A file that `load_machine` reads back as this machine: every field with value, unit and source."""
    lines = [f"name = {json.dumps(machine.name)}", ""]
    for f in values():
        if f.name != "name":
            entry = ", ".join(
                f"{key} = {json.dumps(value, ensure_ascii=False)}"
                for key, value in (
                    ("value", getattr(machine, f.name)),
                    ("unit", f.metadata["unit"]),
                    ("source", source_of(machine, f.name)),
                )
            )
            lines.append(f"{f.name} = {{ {entry} }}")
    return "\n".join(lines) + "\n"
