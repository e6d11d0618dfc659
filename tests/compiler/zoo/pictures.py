"""Picture classifiers as `transformers` defines them, with seeded weights: pixels (1, 3, 224, 224) → (1, 1000)."""

from __future__ import annotations

from torch import Tensor, nn


class Logits(nn.Module):
    """A classifier of `transformers` that takes pixels and gives its scores as one tensor."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.network(pixels, return_dict=False)[0]
        return scores


def resnet(layer: str, widths: list[int], depths: list[int]) -> nn.Module:
    """He et al., Deep Residual Learning (2015); the stride lies in the 3×3 convolution."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(layer_type=layer, hidden_sizes=widths, depths=depths, num_labels=1000)
    return Logits(ResNetForImageClassification(config))


def resnet_18() -> nn.Module:
    return resnet("basic", [64, 128, 256, 512], [2, 2, 2, 2])


def resnet_50() -> nn.Module:
    return resnet("bottleneck", [256, 512, 1024, 2048], [3, 4, 6, 3])


def vit_b_16() -> nn.Module:
    """Dosovitskiy et al., An Image is Worth 16×16 Words (2020)."""
    from transformers import ViTConfig, ViTForImageClassification

    return Logits(ViTForImageClassification(ViTConfig(num_labels=1000, initializer_range=0.04)))
