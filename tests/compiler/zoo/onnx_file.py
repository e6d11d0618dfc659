"""A network as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def attention_in_four_dimensions(
    query: Tensor, key: Tensor, value: Tensor, mask: Any = None, *more: Any, **rest: Any
) -> Any:
    """The exporter knows attention over (B, K, M, E) only; further leading dimensions are folded into the first."""
    if query.ndim == 4:
        return NotImplemented
    lead = query.shape[:-3]
    flat = (x.reshape(-1, *x.shape[-3:]) for x in (query, key, value))
    made: Tensor = torch.ops.aten.scaled_dot_product_attention.default(*flat, mask, *more, **rest)
    return made.reshape(*lead, *made.shape[-3:])


def write(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    """Exports with static shapes, weights inside the file."""
    program = torch.export.export(module, inputs)
    shapes = [
        node.args[0].meta["val"].ndim
        for node in program.graph.nodes
        if node.target is torch.ops.aten.scaled_dot_product_attention.default
    ]
    if any(dimensions != 4 for dimensions in shapes):
        table = {torch.ops.aten.scaled_dot_product_attention.default: attention_in_four_dimensions}
        program = program.run_decompositions(table)
    torch.onnx.export(program, (), str(path), dynamo=True, external_data=False, verbose=False)
