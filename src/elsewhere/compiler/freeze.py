"""A network narrowed to a precision once, so that whoever gets its file needs no calibration and no importer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

import elsewhere
from elsewhere.compiler import program_file
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.precision import LayerError, Report
from elsewhere.compiler.sources import Source
from elsewhere.compiler.targets.cpu.build import prepare

NARROWING = ("to_bf16", "quantise")
"""Passes after which a graph is in its precision and still free of everything that a target decides."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """`source` in its precision, with the graph after every pass on the way to a program."""

    source: Source
    stages: tuple[tuple[str, Graph], ...]
    quantisation: Report | None


def freeze(source: Source, precision: str, samples: Sequence[Mapping[str, NDArray[Any]]] = ()) -> Frozen:
    """Narrows `source`; `samples` are named inputs that int8 is calibrated on, states included.

    What is in that precision already stays as it is. Raises ValueError for another precision than a narrowed source
    has, and CalibrationError for samples that say nothing.
    """
    if source.precision not in ("f32", precision):
        raise ValueError(f"{source.name} is in {source.precision} already and cannot be made {precision}")
    stages = [("imported", source.graph)]
    _, report = prepare(source.graph, precision, samples, lambda name, graph: stages.append((name, graph)))
    narrowed = source.graph
    if source.precision != precision:
        # The weights that it was narrowed from have no reader left.
        narrowed = remove_dead(next(graph for name, graph in reversed(stages) if name in NARROWING))
    if report is None or not report.layers:
        report = source.quantisation
    made = Source(
        graph=narrowed,
        kind=source.kind,
        name=source.name,
        states=source.states,
        precision=precision,
        quantisation=report,
        provenance=source.provenance,
    )
    return Frozen(made, tuple(stages), report)


def save(path: str | os.PathLike[str], source: Source) -> None:
    """Writes a `.ew` file, whole or not at all. Raises OSError."""
    metadata = {
        "name": source.name,
        "kind": source.kind,
        "precision": source.precision,
        "quantisation": None if source.quantisation is None else asdict(source.quantisation),
        "provenance": {**source.provenance, "made by": f"elsewhere {elsewhere.__version__}"},
    }
    program_file.save(path, source.graph, metadata, source.states)


def read_quantisation(said: Any) -> Report | None:
    """The report that `save` wrote. Raises ValueError for anything else."""
    if said is None:
        return None
    try:
        layers = [
            LayerError(str(e["place"]), str(e["op"]), float(e["relative"]), float(e["scale"]), int(e["zero"]))
            for e in said["layers"]
        ]
        return Report(layers, [str(place) for place in said["kept"]])
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"its quantisation is not what was written: {error}") from error
