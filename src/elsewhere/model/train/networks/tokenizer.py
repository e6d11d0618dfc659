"""Frame-wise RGB-D tokenizer, f16: what it codes is the difference to the lit guide.

The decoder is a U-Net over the guide's planes with the latents entering at its bottom, so that edges, colours
and shadows come from what is calculated and the latents carry only what is not. Without a guide (planes all
zero) the same weights carry the whole picture in the latents.

Shapes: B batch, C latent channels, P planes, H W pixels (multiples of 16), h w = H/16 W/16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elsewhere.model.configuration import TokenizerConfig


class Residual(nn.Module):
    """x + conv(silu(conv(silu(x)))), the last convolution starting at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


def base_picture(planes_BPHW: Tensor) -> Tensor:
    """(B, 4, H, W): what the decoder adds to. The lit guide and its disparity, mid-grey in a dream, or between.

    The planes of a guide that is given by half have been halved already.
    """
    grounded = planes_BPHW[:, 23:24]
    grey = planes_BPHW.new_tensor([0.5, 0.5, 0.5, 0.3]).view(1, 4, 1, 1)
    # A ground of shapes alone has a disparity, but no lit picture: then the base is grey altogether.
    base = torch.cat([planes_BPHW[:, 0:3], grounded * planes_BPHW[:, 15:16]], dim=1)
    return base + (1.0 - grounded) * grey


class Encoder(nn.Module):
    """Picture (B, 4, H, W: display RGB and disparity) and planes → latents (B, C, h, w), unit RMS per token."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        a, b, c, d = config.encoder_widths
        self.down2 = nn.Conv2d(9, a, 3, stride=2, padding=1)
        self.down4 = nn.Conv2d(a, b, 3, stride=2, padding=1)
        self.mix4 = Residual(b)
        self.down8 = nn.Conv2d(b, c, 3, stride=2, padding=1)
        self.mix8 = Residual(c)
        self.down16 = nn.Conv2d(c, d, 3, stride=2, padding=1)
        self.mix16 = Residual(d)
        self.out = nn.Conv2d(d, config.latent_channels, 1)

    def forward(self, picture: Tensor, planes: Tensor) -> Tensor:
        difference = picture - base_picture(planes)
        x = self.down2(torch.cat([picture, 2.0 * difference, planes[:, 23:24]], dim=1))
        x = self.mix4(self.down4(F.silu(x)))
        x = self.mix8(self.down8(F.silu(x)))
        x = self.mix16(self.down16(F.silu(x)))
        z: Tensor = self.out(F.silu(x))
        return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-6)


class Decoder(nn.Module):
    """Latents (B, C, h, w) and planes (B, P, H, W) → picture (B, 4, H, W): display RGB and disparity."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        a, b, c, d = config.decoder_widths
        p, e = config.planes, config.head_width
        self.guide2 = nn.Conv2d(p, a, 3, stride=2, padding=1)
        self.guide4 = nn.Conv2d(a, b, 3, stride=2, padding=1)
        self.guide8 = nn.Conv2d(b, c, 3, stride=2, padding=1)
        self.guide16 = nn.Conv2d(c, d, 3, stride=2, padding=1)
        self.latent = nn.Conv2d(config.latent_channels, d, 3, padding=1)
        self.mix16 = nn.Sequential(Residual(d), Residual(d))
        self.up8 = nn.Conv2d(d, c, 1)
        self.mix8 = nn.Sequential(Residual(c), Residual(c))
        self.up4 = nn.Conv2d(c, b, 1)
        self.mix4 = nn.Sequential(Residual(b), Residual(b))
        self.up2 = nn.Conv2d(b, a, 1)
        self.mix2 = Residual(a)
        self.up1 = nn.Conv2d(a, 4 * 12, 1)
        self.head1 = nn.Conv2d(12 + p, e, 3, padding=1)
        self.head2 = nn.Conv2d(e, e, 3, padding=1)
        self.head3 = nn.Conv2d(e, 4, 3, padding=1)
        nn.init.zeros_(self.head3.weight)
        nn.init.zeros_(self.head3.bias)  # type: ignore[arg-type]

    def forward(self, latents: Tensor, planes: Tensor) -> Tensor:
        g2 = self.guide2(planes)
        g4 = self.guide4(F.silu(g2))
        g8 = self.guide8(F.silu(g4))
        x = self.guide16(F.silu(g8)) + self.latent(latents)
        x = self.mix16(x)
        x = self.mix8(F.interpolate(self.up8(x), scale_factor=2.0) + g8)
        x = self.mix4(F.interpolate(self.up4(x), scale_factor=2.0) + g4)
        x = self.mix2(F.interpolate(self.up2(x), scale_factor=2.0) + g2)
        x = F.pixel_shuffle(self.up1(F.silu(x)), 2)
        x = F.silu(self.head1(torch.cat([x, planes], dim=1)))
        x = x + F.silu(self.head2(x))
        return base_picture(planes) + self.head3(x)


class Tokenizer(nn.Module):
    """Encoder and decoder with one configuration."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def forward(self, picture: Tensor, planes: Tensor, noise: Tensor | None = None) -> Tensor:
        """Encodes, adds `noise` (B, C, h, w) to the latents, decodes."""
        z = self.encoder(picture, planes)
        return self.decoder(z if noise is None else z + noise, planes)
