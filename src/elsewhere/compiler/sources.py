"""Where networks come from: a torch module, an ONNX file, a torch.export program, or a saved program of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler import program_file
from elsewhere.compiler.cache import CacheOptions, file_digest, note, noted
from elsewhere.compiler.compiled import Compiled, Signature, check_threads, compile_graph, counts
from elsewhere.compiler.importers.errors import ImportFileError
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.ir.types import Tensor
from elsewhere.compiler.passes.precision import Report
from elsewhere.compiler.targets.cpu.machine import Machine, describe
from elsewhere.compiler.targets.cpu.program import PRECISIONS

if TYPE_CHECKING:
    import torch

SUFFIXES = {".ew": "elsewhere", ".onnx": "onnx", ".pt2": "torch.export"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """An imported network: what every importer gives."""

    graph: Graph
    kind: str
    """Such as 'onnx'."""
    name: str = ""
    states: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What states hold before the first run."""
    precision: str = "f32"
    """That the graph is in already."""
    quantisation: Report | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """JSON values that say where it comes from."""


def compile_module(
    module: torch.nn.Module,
    inputs: Sequence[Any],
    *,
    precision: str = "f32",
    threads: int = 1,
    calibration: Sequence[Any] | None = None,
    machine: Machine | None = None,
    options: CacheOptions | None = None,
) -> Compiled:
    """Compiles a torch module for the shapes of the example `inputs`. The module is not changed.

    `calibration` is a sequence of input tuples, which int8 needs. Raises UnsupportedError, which names the operator
    and its place, for what cannot be imported; else as `compile_graph`.
    """
    source = from_module(module, inputs)
    return compile_graph(
        source.graph,
        precision=precision,
        threads=threads,
        calibration=calibration,
        states=source.states,
        machine=machine,
        options=options,
    )


def compile_onnx(
    path: str | os.PathLike[str],
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    precision: str = "f32",
    threads: int = 1,
    calibration: Sequence[Any] | None = None,
    machine: Machine | None = None,
    options: CacheOptions | None = None,
) -> Compiled:
    """Compiles an ONNX file. `shapes` gives lengths to inputs whose lengths the file leaves open.

    Raises ImportFileError for a damaged file, UnsupportedError for what cannot be imported; else as `compile_graph`.
    """
    source = from_file(path, shapes)
    return compile_graph(
        source.graph,
        precision=precision,
        threads=threads,
        calibration=calibration,
        machine=machine,
        options=options,
    )


def load(
    path: str | os.PathLike[str],
    *,
    threads: int = 1,
    machine: Machine | None = None,
    options: CacheOptions | None = None,
) -> Compiled:
    """A saved network (`.ew`, `.onnx` or `.pt2`) ready to run, in the precision that it was saved in.

    Raises ProgramFileError for a damaged file; else as `compile_onnx`.
    """
    check_threads(threads)
    path, machine = Path(path), machine or describe()
    digest = file_digest(path)
    known = _known(path, digest, threads, machine, options)
    if known is not None:
        return known
    source = from_file(path)
    compiled = compile_graph(
        source.graph,
        precision=source.precision,
        threads=threads,
        states=source.states,
        machine=machine,
        options=options,
    )
    if not any(np.any(value) for value in source.states.values()):
        note(digest, machine, counts(threads), compiled.found, compiled.signature.to_json())
    return compiled


def _known(path: Path, digest: str, threads: int, machine: Machine, options: CacheOptions | None) -> Compiled | None:
    """What this very file became before. Neither its graph nor its weights are read: they are in the program."""
    kept = noted(digest, machine, counts(threads), options)
    if kept is None:
        return None
    found, said = kept
    try:
        signature = Signature.from_json(said)
        if {name for name, _ in signature.inputs} != {port.name for port in found.program.inputs}:
            return None
    except (ValueError, TypeError, LookupError):
        return None
    return Compiled(lambda: from_file(path).graph, found, machine, threads, signature=signature)


def from_module(module: torch.nn.Module, inputs: Sequence[Any]) -> Source:
    """Exports and imports a torch module."""
    import warnings

    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, tuple(inputs))
    return _from_exported(program, type(module).__name__)


def from_file(path: str | os.PathLike[str], shapes: Mapping[str, Sequence[int]] | None = None) -> Source:
    """Imports a file by its suffix.

    Raises ValueError for another suffix, ImportFileError for a damaged file, UnsupportedError for a network that
    cannot be carried, OSError for a file that cannot be read, ModuleNotFoundError where torch is needed and missing.
    """
    path = Path(path)
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"a model must end in {', '.join(SUFFIXES)}, got {path.name!r}")
    # A missing file is said as such, whatever the importer would make of it.
    provenance = {"file": path.name, "sha256": file_digest(path)}
    if kind == "elsewhere":
        return _from_program_file(path)
    if kind == "onnx":
        from elsewhere.compiler.importers.onnx import from_onnx

        try:
            graph = from_onnx(path, shapes)
        except ImportFileError as error:
            raise ImportFileError(f"{path.name} is not a sound ONNX file: {error}") from error
        return Source(graph=graph, kind=kind, name=path.stem, provenance=provenance)
    return _from_pt2(path, provenance)


def _from_program_file(path: Path) -> Source:
    from elsewhere.compiler.freeze import read_quantisation

    found = program_file.load(path)
    said = found.metadata
    precision, provenance = said.get("precision", "f32"), said.get("provenance", {})
    if precision not in PRECISIONS or not isinstance(provenance, Mapping):
        raise program_file.ProgramFileError(f"{path.name}: its metadata is not what was written")
    try:
        quantisation = read_quantisation(said.get("quantisation"))
    except ValueError as error:
        raise program_file.ProgramFileError(f"{path.name}: {error}") from error
    return Source(
        graph=found.graph,
        kind=str(said.get("kind", "elsewhere")),
        name=str(said.get("name", path.stem)),
        states=found.states,
        precision=precision,
        quantisation=quantisation,
        provenance=provenance,
    )


def _from_pt2(path: Path, provenance: Mapping[str, Any]) -> Source:
    """Only files from people you trust: torch's own loader opens them."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path.name} is a torch.export program, and reading it needs torch: pip install torch. "
            "An .onnx or .ew file needs nothing more",
            name="torch",
        ) from error
    try:
        program = torch.export.load(path)
    except Exception as error:  # torch raises whatever its archive reader met
        raise ImportFileError(f"{path.name} is not a program that torch.export.save wrote: {error}") from error
    return _from_exported(program, path.stem, provenance)


def _from_exported(
    program: torch.export.ExportedProgram, name: str, provenance: Mapping[str, Any] | None = None
) -> Source:
    from elsewhere.compiler.importers.torch_export import from_exported, initial_states

    graph = from_exported(program)
    states = initial_states(program) if graph.states else {}
    return Source(graph=graph, kind="torch.export", name=name, states=states, provenance=provenance or {})


def example_inputs(graph: Graph, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Inputs to measure with: normal floats, zeros for whole numbers, which are mostly indices and masks."""
    random = np.random.Generator(np.random.Philox(seed))
    changing = {name for name, _ in graph.states}
    return {
        name: _example(graph.nodes[number].type, random)
        for name, number in graph.inputs.items()
        if name not in changing
    }


def _example(type_: Tensor, random: np.random.Generator) -> NDArray[Any]:
    if type_.dtype in ("i8", "i32"):
        return np.zeros(type_.shape, np.int32)
    return random.standard_normal(type_.shape, np.float32)
