"""What training compares: pixels, edges, and the energies of fixed random filters.

Shapes: pictures (B, 3, H, W), display RGB in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def charbonnier(error: Tensor, floor: float = 1e-2) -> Tensor:
    """Mean of sqrt(error² + floor²) − floor: L1 that is round at the bottom."""
    return (error.square() + floor * floor).sqrt().mean() - floor


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical first differences."""
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def edge_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """L1 between first differences."""
    return sum(
        ((a - b).abs().mean() for a, b in zip(gradients(made), gradients(wanted), strict=True)), made.new_zeros(())
    )


class RandomFeatures(nn.Module):
    """Fixed random zero-mean filters at three scales, then a second random layer; no learned weight.

    The loss compares responses (structure) and their local energy (texture), so that a blur costs
    something where the texture's phase cannot be known.
    """

    def __init__(self, width: int = 24, seed: int = 7) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        first = torch.randn(width, 3, 3, 3, generator=rng)
        first = first - first.mean(dim=(2, 3), keepdim=True)
        second = torch.randn(width, width, 3, 3, generator=rng)
        self.register_buffer("first", first / first.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
        self.register_buffer("second", second / second.flatten(1).norm(dim=1).view(-1, 1, 1, 1))

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        total = made.new_zeros(())
        for _ in range(3):
            a, b = F.conv2d(made, self.first), F.conv2d(wanted, self.first)
            total = total + (a - b).abs().mean()
            energy_a, energy_b = (F.avg_pool2d(x.square(), 8, 4).add(1e-4).sqrt() for x in (a, b))
            total = total + (energy_a - energy_b).abs().mean()
            a, b = (F.conv2d(F.relu(x), self.second, stride=2) for x in (a, b))
            total = total + 0.5 * (a - b).abs().mean()
            made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
        return total / 3.0
