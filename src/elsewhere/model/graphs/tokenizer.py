"""The tokenizer's decoder and encoder as graphs, for one picture size.

Shapes: C latent channels, P planes, H W pixels (multiples of 16), h w = H/16 W/16. All is channels-last.
"""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.importers import forms
from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.model.configuration import PATCH, TokenizerConfig
from elsewhere.model.graphs.layers import Layers, Shapes, Weights, convolution_shapes, residual_shapes

GREY = (0.5, 0.5, 0.5, 0.3)
"""Red, green, blue and disparity that a dream starts from."""
GROUNDED = 23
"""The plane that is 1 where a guide is given."""
DISPARITY = 15
SHUFFLE = 2
SHUFFLED = 12
"""Channels that the head gets from half the resolution."""


def tokenizer_shapes(config: TokenizerConfig) -> Shapes:
    """Every weight that a file of this configuration holds."""
    found: Shapes = {}
    inner = 9
    for name, outer in zip(("2", "4", "8", "16"), config.encoder_widths, strict=True):
        found |= convolution_shapes(f"encoder.down{name}", inner, outer)
        found |= residual_shapes(f"encoder.mix{name}", outer) if name != "2" else {}
        inner = outer
    found |= convolution_shapes("encoder.out", inner, config.latent_channels, 1)
    a, b, c, d = config.decoder_widths
    for name, inner, outer in (("2", config.planes, a), ("4", a, b), ("8", b, c), ("16", c, d)):
        found |= convolution_shapes(f"decoder.guide{name}", inner, outer)
    found |= convolution_shapes("decoder.latent", config.latent_channels, d)
    for name, width in (("16.0", d), ("16.1", d), ("8.0", c), ("8.1", c), ("4.0", b), ("4.1", b), ("2", a)):
        found |= residual_shapes(f"decoder.mix{name}", width)
    for name, inner, outer in (("8", d, c), ("4", c, b), ("2", b, a), ("1", a, SHUFFLED * SHUFFLE**2)):
        found |= convolution_shapes(f"decoder.up{name}", inner, outer, 1)
    head = config.head_width
    for name, inner, outer in (("1", SHUFFLED + config.planes, head), ("2", head, head), ("3", head, 4)):
        found |= convolution_shapes(f"decoder.head{name}", inner, outer)
    return found


def base_picture(b: Builder, planes: int) -> int:
    """(1, H, W, 4): what the decoder adds to. The lit guide and its disparity, mid-grey in a dream, or between."""
    b.place = "base_picture"
    grounded = b.narrow(planes, 3, GROUNDED, GROUNDED + 1)
    # A ground of shapes alone has a disparity, but no lit picture: then the base is grey altogether.
    disparity = b.binary("mul", b.narrow(planes, 3, DISPARITY, DISPARITY + 1), grounded)
    shown = b.concatenate([b.narrow(planes, 3, 0, 3), disparity], 3)
    grey = b.broadcast(b.constant(np.array(GREY, np.float32).reshape(1, 1, 1, 4), "f32"), b.shape(shown))
    away = b.binary("sub", b.like(1.0, grounded), grounded)
    return b.binary("add", shown, b.binary("mul", grey, away))


def decoder_graph(config: TokenizerConfig, weights: Weights, height: int, width: int) -> Graph:
    """Inputs latents (h·w, C) and planes (H, W, P); output picture (H, W, 4): display RGB and disparity."""
    b = Builder()
    layers = Layers(b, weights)
    rows, columns = height // PATCH, width // PATCH
    latents = b.input("latents", "f32", (rows * columns, config.latent_channels))
    planes = b.reshape(b.input("planes", "f32", (height, width, config.planes)), (1, height, width, config.planes))
    latents = b.reshape(latents, (1, rows, columns, config.latent_channels))

    guide2 = layers.convolution("decoder.guide2", planes, stride=2)
    guide4 = layers.convolution("decoder.guide4", layers.silu(guide2), stride=2)
    guide8 = layers.convolution("decoder.guide8", layers.silu(guide4), stride=2)
    x = layers.convolution("decoder.guide16", layers.silu(guide8), stride=2)
    x = layers.add(layers.convolution("decoder.latent", latents), x)
    x = layers.residual("decoder.mix16.1", layers.residual("decoder.mix16.0", x))
    for name, guide, mixes in (("8", guide8, (".0", ".1")), ("4", guide4, (".0", ".1")), ("2", guide2, ("",))):
        x = layers.add(layers.doubled(layers.convolution(f"decoder.up{name}", x)), guide)
        for mix in mixes:
            x = layers.residual(f"decoder.mix{name}{mix}", x)

    # Channels in the order (2, 2, C), so that what goes to one pixel lies together.
    order = np.arange(SHUFFLED * SHUFFLE**2).reshape(SHUFFLED, SHUFFLE**2).T.ravel()
    x = layers.convolution("decoder.up1", layers.silu(x), order=order)
    x = forms.channels_last(b, forms.pixel_shuffle(b, forms.channels_first(b, x), SHUFFLE, depth_first=True))
    x = layers.silu(layers.convolution("decoder.head1", b.concatenate([x, planes], 3)))
    x = layers.add(layers.silu(layers.convolution("decoder.head2", x)), x)
    picture = layers.add(layers.convolution("decoder.head3", x), base_picture(b, planes))
    b.output("picture", b.reshape(picture, (height, width, 4)))
    return b.graph()


def encoder_graph(config: TokenizerConfig, weights: Weights, height: int, width: int) -> Graph:
    """Inputs picture (H, W, 4) and planes (H, W, P); output latents (h·w, C) with unit RMS per token."""
    b = Builder()
    layers = Layers(b, weights)
    picture = b.reshape(b.input("picture", "f32", (height, width, 4)), (1, height, width, 4))
    planes = b.reshape(b.input("planes", "f32", (height, width, config.planes)), (1, height, width, config.planes))
    difference = forms.scalar(b, "mul", b.binary("sub", picture, base_picture(b, planes)), 2.0)
    x = b.concatenate([picture, difference, b.narrow(planes, 3, GROUNDED, GROUNDED + 1)], 3)
    x = layers.convolution("encoder.down2", x, stride=2)
    for name in ("4", "8", "16"):
        x = layers.convolution(f"encoder.down{name}", layers.silu(x), stride=2)
        x = layers.residual(f"encoder.mix{name}", x)
    z = layers.convolution("encoder.out", layers.silu(x))
    z = b.reshape(z, (height // PATCH * (width // PATCH), config.latent_channels))
    b.place = "encoder.unit"
    b.output("latents", forms.rms_norm(b, z, 1, None, 1e-6))
    return b.graph()
