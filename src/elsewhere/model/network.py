"""The networks as native programs: compiled once a picture size, shared by streams that each have their own memory.

A stream has three: `look` turns a guide into features, and may run in another thread while the last frame is still
painted; `step` is one evaluation of the transformer, and holds the rolling cache; `decode` makes the picture.
This file does not know what a scene is, nor how a frame is sampled.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.cache import find_or_build
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.targets.cpu.library import Library
from elsewhere.compiler.targets.cpu.machine import Machine, describe
from elsewhere.compiler.targets.cpu.program import Program
from elsewhere.compiler.targets.cpu.runtime import Network
from elsewhere.model import weights
from elsewhere.model.configuration import PATCH, TokenizerConfig, TransformerConfig, from_dict
from elsewhere.model.graphs.tokenizer import decoder_graph, tokenizer_shapes
from elsewhere.model.graphs.transformer import Tables, look_graph, step_graph, transformer_shapes

PRECISIONS = ("f32", "bf16")
"""Number formats of products. Sums, and all that is not a product, are f32. (int8 would have to be calibrated.)"""


def fastest_precision() -> str:
    """bf16 where the processor multiplies it: twice the pace, and pictures 60 dB from those of f32. f32 elsewhere."""
    return "bf16" if describe().dot_bf16 else "f32"


THREADS = (1, 2)
"""Numbers of threads that every program is planned for, so that one file in the cache serves most machines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """Both networks' numbers and sizes, as a directory of weights files holds them."""

    tokenizer: TokenizerConfig
    transformer: TransformerConfig
    tokenizer_arrays: dict[str, NDArray[np.float32]]
    tables: Tables

    @classmethod
    def read(cls, directory: Path) -> Models:
        """Raises WeightsError for files that are missing or do not fit, ValueError for a wrong configuration."""
        first, second = directory / "tokenizer.safetensors", directory / "world.safetensors"
        tokenizer = from_dict(TokenizerConfig, weights.read_header(first)["config"])
        transformer = from_dict(TransformerConfig, weights.read_header(second)["config"])
        arrays = weights.read_arrays(second, transformer_shapes(transformer))
        return cls(
            tokenizer=tokenizer,
            transformer=transformer,
            tokenizer_arrays=weights.read_arrays(first, tokenizer_shapes(tokenizer)),
            tables=Tables(config=transformer, weights=arrays),
        )

    def graphs(self, height: int, width: int) -> dict[str, Callable[[], Graph]]:
        """What makes each program's graph, for pictures of (height, width) pixels."""
        size, world = (height, width), (self.transformer, self.tables.weights)
        return {
            "look": lambda: look_graph(*world, *size),
            "step": lambda: step_graph(*world, *size),
            "decode": lambda: decoder_graph(self.tokenizer, self.tokenizer_arrays, *size),
        }


@dataclass(frozen=True, slots=True)
class Code:
    """A program and its machine code in this process."""

    program: Program
    library: Library


def compiled(graph: Graph, machine: Machine, threads: Sequence[int], precision: str) -> Code:
    """The program of `graph`, from the cache on disk if it was made before."""
    program = find_or_build(graph, machine, threads, precision=precision).program
    return Code(program, Library(program.code, machine))


class Workshop:
    """Programs by picture size, made when they are first wanted. For use by any number of threads."""

    def __init__(self, models: Models, *, threads: int, precision: str) -> None:
        self.models, self.threads, self.precision = models, threads, precision
        self.machine = describe()
        self._made: dict[tuple[int, int], dict[str, Code]] = {}
        self._making: defaultdict[tuple[int, int], threading.Lock] = defaultdict(threading.Lock)
        """One for each size: programs of one that take minutes to compile keep nobody from another."""

    def programs(self, height: int, width: int) -> dict[str, Code]:
        """The three programs for pictures of (height, width) pixels. Raises ValueError for a size that cannot be."""
        if height % PATCH or width % PATCH or min(height, width) < PATCH:
            raise ValueError(f"height and width must be multiples of {PATCH}, got {height} and {width}")
        with self._making[height, width]:
            if (height, width) not in self._made:
                counts = sorted({*THREADS, self.threads})
                self._made[height, width] = {
                    name: compiled(make(), self.machine, counts, self.precision)
                    for name, make in self.models.graphs(height, width).items()
                }
            return self._made[height, width]

    def networks(self, height: int, width: int) -> Networks:
        """Memory for one more stream."""
        return Networks(self.programs(height, width), self.machine, self.threads)


class Networks:
    """One stream's three networks. `look` may run while one of the others does; nothing else may."""

    def __init__(self, codes: dict[str, Code], machine: Machine, threads: int) -> None:
        def start(name: str, count: int) -> Network:
            return Network(codes[name].program, machine, count, codes[name].library)

        # The thread that looks has a core of its own only by chance.
        self.look, self.step, self.decode = start("look", 1), start("step", threads), start("decode", threads)
        rows, columns = self.look.inputs["planes"].shape[:2]
        self.size = (rows, columns)

    def features(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the transformer sees of a guide: planes (H, W, P) → (N, D)."""
        self.look.write("planes", planes)
        self.look.run()
        return self.look.read("features")

    def evaluate(self) -> NDArray[np.float32]:
        """One evaluation with what lies in the inputs of `step` → clean latents (N, C) of the new frame."""
        self.step.run()
        return self.step.read("clean")

    def picture(self, latents: NDArray[np.float32], planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents (N, C) and planes (H, W, P) → (H, W, 4), display RGB and disparity: a view until the next call."""
        self.decode.write("latents", latents)
        self.decode.write("planes", planes)
        self.decode.run()
        return self.decode.outputs["picture"]
