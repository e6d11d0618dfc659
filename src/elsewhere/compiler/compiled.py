"""Graphs made callable: through the cache to a program, and arrays in and out by position or by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.cache import CacheOptions, Found, find_or_build
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.ir.types import DTYPES, Tensor
from elsewhere.compiler.targets.cpu.machine import Machine, describe
from elsewhere.compiler.targets.cpu.program import PRECISIONS
from elsewhere.compiler.targets.cpu.runtime import Network


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes in and out of a network: all that a caller has to know of its graph."""

    inputs: tuple[tuple[str, Tensor], ...]
    """In order, states among them."""
    outputs: tuple[str, ...]
    states: tuple[str, ...] = ()

    @classmethod
    def of(cls, graph: Graph) -> Signature:
        return cls(
            tuple((name, graph.nodes[number].type) for name, number in graph.inputs.items()),
            tuple(name for name, _ in graph.outputs),
            tuple(name for name, _ in graph.states),
        )

    def to_json(self) -> dict[str, Any]:
        ports = [[name, type_.dtype, list(type_.shape)] for name, type_ in self.inputs]
        return {"inputs": ports, "outputs": list(self.outputs), "states": list(self.states)}

    @classmethod
    def from_json(cls, said: Any) -> Signature:
        """Raises ValueError, TypeError or LookupError for anything else than what `to_json` gives."""
        inputs = tuple((str(name), Tensor(str(dtype), tuple(map(int, shape)))) for name, dtype, shape in said["inputs"])
        if any(type_.dtype not in DTYPES or min(type_.shape, default=0) < 0 for _, type_ in inputs):
            raise ValueError("an input of no known type")
        return cls(inputs, tuple(map(str, said["outputs"])), tuple(map(str, said["states"])))

    @property
    def given(self) -> tuple[str, ...]:
        """Inputs that a caller gives, in order; states are not among them."""
        return tuple(name for name, _ in self.inputs if name not in self.states)


class Compiled:
    """A network that is ready to run. Calling it copies inputs in and outputs out:

        y = compiled(x)              # one output, or a tuple, or a dictionary where outputs have names
        y = compiled(x=x, mask=mask)

    Without copies: write into `inputs`, `run()`, read `outputs`. These arrays are the network's own memory, valid as
    long as this object lives; bf16 lies there as its upper 16 bits and int8 with 128 added, all else as it is.
    One thread at a time may use an object.
    """

    def __init__(
        self,
        graph: Graph | Callable[[], Graph],
        found: Found,
        machine: Machine,
        threads: int = 1,
        states: Mapping[str, NDArray[Any]] | None = None,
        *,
        signature: Signature | None = None,
    ) -> None:
        self.program, self.machine, self.from_cache, self.seconds = found.program, machine, found.hit, found.seconds
        self.found = found
        self._graph = graph
        self.signature = signature or Signature.of(self.graph)
        self.input_names, self.output_names = self.signature.given, self.signature.outputs
        self._initial = {name: np.array(value) for name, value in (states or {}).items()}
        self.network = Network(found.program, machine, threads)
        self.reset()

    @property
    def graph(self) -> Graph:
        """As imported, before any pass; read from its file only when it is asked for."""
        if not isinstance(self._graph, Graph):
            self._graph = self._graph()
        return self._graph

    @property
    def threads(self) -> int:
        return self.network.threads

    @property
    def inputs(self) -> dict[str, NDArray[Any]]:
        """Where inputs and states lie, by name."""
        return self.network.inputs

    @property
    def outputs(self) -> dict[str, NDArray[Any]]:
        """Where the last run left its outputs, by name."""
        return self.network.outputs

    def run(self) -> None:
        """From `inputs` to `outputs`; states move on. Allocates nothing."""
        self.network.run()

    def reset(self) -> None:
        """Puts every state back to what it was before the first run: the model's own value, or zeros."""
        for name in self.signature.states:
            shape = self.network.inputs[name].shape
            self.network.write(name, self._initial.get(name, np.zeros(shape, np.float32)))

    def write(self, *inputs: Any, **named: Any) -> None:
        """Copies inputs in; arrays, torch tensors, numbers, or nested lists, tuples and dictionaries of them.

        Raises ValueError for a wrong count, name or shape.
        """
        for name, value in bind(self.signature, inputs, named).items():
            self.network.write(name, value)

    def read(self) -> Any:
        """Copies of the outputs: one array, a tuple in order, or a dictionary if the model names them."""
        made = [self.network.read(name) for name in self.output_names]
        if self.output_names == ("output",):
            return made[0]
        if self.output_names == tuple(f"output_{i}" for i in range(len(made))):
            return tuple(made)
        return dict(zip(self.output_names, made, strict=True))

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        self.write(*inputs, **named)
        self.run()
        return self.read()

    def close(self) -> None:
        """Ends the threads; the object cannot run after that. Happens by itself when it is no longer used."""
        self.network.close()

    def __repr__(self) -> str:
        ports = [f"{p.name}: {p.dtype}{list(p.shape)}" for p in self.program.inputs]
        made = [f"{p.name}: {p.dtype}{list(p.shape)}" for p in self.program.outputs]
        return f"<Compiled ({', '.join(ports)}) → ({', '.join(made)}), {len(self.program.entries)} kernels>"


def compile_graph(
    graph: Graph,
    *,
    precision: str = "f32",
    threads: int = 1,
    calibration: Sequence[Any] | None = None,
    states: Mapping[str, NDArray[Any]] | None = None,
    machine: Machine | None = None,
    options: CacheOptions | None = None,
) -> Compiled:
    """A callable network for this processor, from the cache if it was compiled before.

    `calibration` is a sequence of example inputs, which int8 needs unless the graph is quantised already: each is
    what a call takes, or a mapping by name. `states` are values before the first run. Raises ValueError for arguments
    that cannot be, CalibrationError for examples that say nothing, LoweringError for what has no kernel.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    check_threads(threads)
    samples = [named_inputs(graph, sample, states) for sample in calibration or ()] if precision == "int8" else []
    machine = machine or describe()
    found = find_or_build(graph, machine, counts(threads), options, precision=precision, samples=samples)
    return Compiled(graph, found, machine, threads, states)


def counts(threads: int) -> list[int]:
    """Numbers of threads that a program is planned for: one serves one core and two, so both find the same file."""
    return sorted({1, 2, threads})


def input_names(graph: Graph) -> tuple[str, ...]:
    """Inputs that a caller gives, in order; states are not among them."""
    return Signature.of(graph).given


def bind(signature: Signature, inputs: Sequence[Any], named: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Arrays by name from what a caller gives by position (nested as it likes) and by name.

    Raises ValueError for a wrong count or name; shapes are not looked at.
    """
    types = dict(signature.inputs)
    for name in named:
        if name not in types:
            raise ValueError(f"there is no input {name!r}; there are {', '.join(types)}")
    wanted = signature.given
    given, free = list(_leaves(inputs)), [name for name in wanted if name not in named]
    if len(given) != len(free):
        list_ = ", ".join(f"{name} {types[name]}" for name in wanted)
        raise ValueError(f"inputs must be {len(wanted)}: {list_}; got {len(given) + len(named)}")
    return {name: _array(value) for name, value in (*zip(free, given, strict=True), *named.items())}


def named_inputs(
    graph: Graph, sample: Any, states: Mapping[str, NDArray[Any]] | None = None
) -> dict[str, NDArray[Any]]:
    """One calibration sample by name, states included. Raises ValueError where it does not fit the inputs."""
    signature = Signature.of(graph)
    if isinstance(sample, Mapping):
        bound = bind(signature, (), sample)
    else:
        bound = bind(signature, sample if isinstance(sample, (tuple, list)) else (sample,), {})
    types = dict(signature.inputs)
    for name, value in bound.items():
        if value.shape != types[name].shape:
            raise ValueError(f"calibration input {name!r} must have shape {types[name].shape}, got {value.shape}")
    return dict(states or {}) | bound


def check_threads(threads: int) -> None:
    """Raises ValueError if this process has fewer cores: threads that wait for each other need a core each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not 1 <= threads <= max(cores, 2):
        raise ValueError(f"threads must be from 1 to {cores}, the cores of this process, got {threads}")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _array(value: Any) -> NDArray[Any]:
    """NumPy's view of a torch tensor, without importing torch."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float().numpy() if str(value.dtype) == "torch.bfloat16" else value.numpy()
    array = np.asarray(value)
    if array.dtype == np.float64:
        return array.astype(np.float32)
    return array.astype(np.int8) if array.dtype == np.bool_ else array
