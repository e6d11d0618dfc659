"""Random weights as awkward as trained ones, so that no mistake of an importer hides behind a zero or a one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def unequal(module: nn.Module) -> None:
    """Draws every bias that is still all 0, and every scale that is still all 1."""
    for values in module.parameters():
        if values.ndim == 1 and bool((values == 0.0).all()):
            nn.init.normal_(values, std=0.1)
        elif values.ndim == 1 and bool((values == 1.0).all()):
            nn.init.uniform_(values, 0.7, 1.3)


@torch.no_grad()
def settle(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Sets batch-norm statistics to what the inputs give each layer, a little off.

    Statistics of 0 and 1 would let activations grow from layer to layer, to sizes that no trained network sees.
    """
    norms = [part for part in module.modules() if isinstance(part, NORMS)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    module(*inputs)
    for norm in norms:
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        mean += 0.1 * torch.randn_like(mean) * variance.sqrt()
        variance *= torch.empty_like(variance).uniform_(0.8, 1.25)
        norm.momentum = 0.1
        norm.eval()
