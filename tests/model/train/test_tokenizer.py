"""The tokenizer starts as the lit guide, and takes any size that is a multiple of 16."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from elsewhere.model.configuration import TokenizerConfig  # noqa: E402
from elsewhere.model.train.losses import RandomFeatures, charbonnier  # noqa: E402
from elsewhere.model.train.networks.tokenizer import Tokenizer, base_picture  # noqa: E402


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 96)])
def test_an_untrained_tokenizer_gives_the_lit_guide(height: int, width: int) -> None:
    torch.manual_seed(0)
    network = Tokenizer(TokenizerConfig())
    planes = torch.rand(2, 24, height, width)
    planes[:, 23] = 1.0
    made = network(torch.rand(2, 4, height, width), planes)
    torch.testing.assert_close(made, torch.cat([planes[:, 0:3], planes[:, 15:16]], dim=1))


@torch.no_grad()
def test_latents_have_unit_size_per_token() -> None:
    torch.manual_seed(0)
    network = Tokenizer(TokenizerConfig())
    latents = network.encoder(torch.rand(1, 4, 64, 32), torch.rand(1, 24, 64, 32))
    assert latents.shape == (1, 16, 4, 2)
    torch.testing.assert_close(latents.square().mean(dim=1), torch.ones(1, 4, 2), atol=1e-2, rtol=0)


def test_without_a_guide_the_base_is_grey() -> None:
    base = base_picture(torch.zeros(1, 24, 4, 4))
    assert torch.unique(base[:, :3]).tolist() == [0.5]


def test_random_features_are_fixed_and_punish_blur() -> None:
    wanted = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    blurred = torch.nn.functional.avg_pool2d(wanted, 5, 1, 2)
    loss = RandomFeatures()
    assert loss(wanted, wanted).item() == pytest.approx(0.0, abs=1e-6)
    assert loss(blurred, wanted) > 0.05
    assert loss(blurred, wanted) == RandomFeatures()(blurred, wanted)


def test_charbonnier_is_zero_at_zero() -> None:
    assert charbonnier(torch.zeros(5)).item() == pytest.approx(0.0, abs=1e-7)
