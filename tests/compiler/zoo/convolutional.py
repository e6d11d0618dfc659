"""Convolution networks written from their papers: MobileNet-V3, and a residual network over video.

Shapes: C channels, H W pixels, T frames; batch 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def picture_inputs(seed: int) -> tuple[Tensor, ...]:
    """(1, 3, 224, 224): soft shapes with a little noise, zero mean and unit variance as classifiers expect."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 3, 14, 14, generator=generator)
    picture = F.interpolate(coarse, size=(224, 224), mode="bicubic")
    return (1.2 * picture + 0.2 * torch.randn(1, 3, 224, 224, generator=generator),)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table in the paper."""

    kernel: int
    expanded: int
    out: int
    squeezed: bool
    hard: bool
    stride: int


# Howard et al., Searching for MobileNetV3 (2019), tables 1 and 2.
LARGE = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)
SMALL = (
    Row(3, 16, 16, True, False, 2),
    Row(3, 72, 24, False, False, 2),
    Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2),
    Row(5, 240, 40, True, True, 1),
    Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1),
    Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2),
    Row(5, 576, 96, True, True, 1),
    Row(5, 576, 96, True, True, 1),
)


def convolution(width: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias and its batch norm; the picture keeps its size but for the stride."""
    layer = nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(out, eps=0.001)]


def activation(hard: bool) -> nn.Module:
    return nn.Hardswish() if hard else nn.ReLU()


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in [0, 1] that the channels' means decide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # A quarter of the width, as a multiple of 8.
        narrow = max(8, (width // 4 + 4) // 8 * 8)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, narrow, 1),
            nn.ReLU(),
            nn.Conv2d(narrow, width, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = x * self.gate(x)
        return gated


class InvertedResidual(nn.Module):
    """Expand, filter each channel, gate, contract; added to its input where the shapes agree."""

    def __init__(self, width: int, row: Row) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if row.expanded != width:
            layers += [*convolution(width, row.expanded, 1), activation(row.hard)]
        layers += convolution(row.expanded, row.expanded, row.kernel, stride=row.stride, groups=row.expanded)
        layers += [activation(row.hard)]
        if row.squeezed:
            layers += [SqueezeExcite(row.expanded)]
        layers += convolution(row.expanded, row.out, 1)
        self.branch = nn.Sequential(*layers)
        self.adds = row.stride == 1 and row.out == width

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.branch(x)
        return x + branch if self.adds else branch


class MobileNetV3(nn.Module):
    """Pixels (1, 3, 224, 224) → scores (1, 1000)."""

    def __init__(self, rows: tuple[Row, ...], hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [*convolution(3, 16, 3, stride=2), activation(True)]
        width = 16
        for row in rows:
            layers.append(InvertedResidual(width, row))
            width = row.out
        last = rows[-1].expanded
        layers += [*convolution(width, last, 1), activation(True)]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(last, hidden), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(hidden, 1000))

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.head(self.pool(self.features(pixels)).flatten(1))
        return scores


def mobilenet_v3_small() -> nn.Module:
    return MobileNetV3(SMALL, 1024)


def mobilenet_v3_large() -> nn.Module:
    return MobileNetV3(LARGE, 1280)


class Residual3d(nn.Module):
    """Two 3×3×3 convolutions beside a shortcut that follows a change of size or width."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv3d(width, out, 3, stride, 1, bias=False),
            nn.BatchNorm3d(out),
            nn.ReLU(),
            nn.Conv3d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm3d(out),
        )
        self.shortcut = (
            nn.Sequential(nn.Conv3d(width, out, 1, stride, bias=False), nn.BatchNorm3d(out))
            if stride != 1 or width != out
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


class VideoNetwork(nn.Module):
    """R3D after Tran et al., A Closer Look at Spatiotemporal Convolutions (2018): (1, 3, 8, 64, 64) → (1, 400)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (32, 64, 128, 256)
        self.stem = nn.Sequential(
            nn.Conv3d(3, widths[0], (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False), nn.BatchNorm3d(widths[0]), nn.ReLU()
        )
        blocks: list[nn.Module] = [Residual3d(widths[0], widths[0], 1)]
        blocks += [Residual3d(a, b, 2) for a, b in pairwise(widths)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], 400)

    def forward(self, video: Tensor) -> Tensor:
        scores: Tensor = self.head(self.blocks(self.stem(video)).mean(dim=(2, 3, 4)))
        return scores


def video_network() -> nn.Module:
    return VideoNetwork()


def video_inputs(seed: int) -> tuple[Tensor, ...]:
    """(1, 3, 8, 64, 64)."""
    coarse = torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(coarse, size=(8, 64, 64), mode="trilinear"),)
