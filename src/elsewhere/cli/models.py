"""What a user may call a model: a file, or one of the project's own networks by name."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from elsewhere.cli.report import INTERRUPTED, interruptible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from elsewhere.compiler.ir.graph import Graph
    from elsewhere.compiler.sources import Source

Result = TypeVar("Result")

OWN = {"world-step": "step", "world-look": "look", "tokenizer-decoder": "decode"}
"""Names of the project's networks here, and in `elsewhere.model`."""

HELP = f"A .ew, .onnx or .pt2 file, or one of {', '.join(OWN)}."
CALIBRATION_HELP = "Inputs as .npz, by name: what int8 is calibrated on. May be given several times."


def open_source(model: str, size: str) -> Source:
    """Raises ValueError, OSError or ModuleNotFoundError with what is wrong; see `sources.from_file`."""
    if model in OWN:
        return _own(model, size)
    from elsewhere.compiler.sources import SUFFIXES, from_file

    if Path(model).suffix.lower() not in SUFFIXES:
        if Path(model).suffix.lower() == ".tsp":
            raise ValueError(f"{model} is compiled already; `elsewhere tsp run {model}` runs it")
        kinds = ", ".join(SUFFIXES)
        raise ValueError(f"MODEL must be a file that ends in {kinds}, or one of {', '.join(OWN)}; got {model!r}")
    if not Path(model).is_file():
        raise ValueError(f"there is no file {model}")
    return from_file(model)


def _own(name: str, size: str) -> Source:
    from elsewhere.compiler.sources import Source
    from elsewhere.live.options import read_size
    from elsewhere.model import weights
    from elsewhere.model.network import Models

    width, height = read_size(size)
    graph: Graph = Models.read(weights.DIRECTORY).graphs(height, width)[OWN[name]]()
    return Source(graph=graph, kind="elsewhere", name=name, provenance={"weights": "shipped", "size": [width, height]})


def read_inputs(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by name from an .npz file, pickles refused. Raises ValueError or OSError."""
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as found:
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise ValueError(f"{path.name} holds one array; an .npz file of arrays by name is needed")
            return {name: found[name] for name in found.files}
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise ValueError(f"{path.name} is not a sound .npz file of plain arrays: {error}") from error


def read_samples(source: Source, paths: list[Path]) -> list[dict[str, NDArray[Any]]]:
    """Calibration inputs of `source`, checked. Raises ValueError or OSError."""
    from elsewhere.compiler.compiled import named_inputs

    return [named_inputs(source.graph, by_name(source, read_inputs(path)), source.states) for path in paths]


def by_name(source: Source, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """`arrays` as they are; what `numpy.savez` was given without names (arr_0, …) is taken in order."""
    from elsewhere.compiler.compiled import input_names

    names = input_names(source.graph)
    if list(arrays) == [f"arr_{i}" for i in range(len(names))] and "arr_0" not in names:
        return dict(zip(names, arrays.values(), strict=True))
    return arrays


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A line that says what is being done, with the time it takes."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, quiet=quiet), transient=True) as shown:
        task = shown.add_task("starting")
        yield lambda what: shown.update(task, description=what)


_working: list[threading.Thread] = []


def in_background(work: Callable[[], Result]) -> Result:
    """`work` in a thread of its own, so that Ctrl-C is heard while native code runs."""
    done: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # handed to the caller below
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    _working[:] = [thread]
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if failed:
        raise failed[0]
    return done[0]


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Ctrl-C ends the verb with `message`, also in the middle of `in_background`."""
    try:
        with interruptible(message):
            yield
    except typer.Exit as leaving:
        if leaving.exit_code == INTERRUPTED and any(thread.is_alive() for thread in _working):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)  # the native code that still runs must not meet an interpreter that is gone
        raise
