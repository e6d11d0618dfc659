"""The transformer's cache must change nothing, and its past must not see its future."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from elsewhere.model.configuration import TransformerConfig  # noqa: E402
from elsewhere.model.train.networks.transformer import Cache, Transformer, rotate, turns  # noqa: E402

SMALL = TransformerConfig(planes=3, latent_channels=4, width=24, layers=4, heads=2, vocabulary=("red", "ball"))


def small_network() -> Transformer:
    torch.manual_seed(0)
    network = Transformer(SMALL)
    with torch.no_grad():  # the modulation and output start at zero, where nothing could be told apart
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return network.eval()


def inputs(frames: int) -> dict:
    rng = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng)

    return {
        "noisy": normal(1, frames, 4, 2, 3),
        "level": torch.rand(1, frames, generator=rng),
        "step": torch.zeros(1, frames),
        "planes": normal(1, frames, 3, 8, 12),
        "camera": normal(1, frames, 6, 12),
        "text": torch.tensor([[2, 3, 0]]),
        "positions": torch.arange(frames).float(),
    }


def slice_of(all_: dict, first: int, last: int) -> dict:
    part = {k: v[:, first:last] for k, v in all_.items() if k not in ("text", "positions")}
    return part | {"text": all_["text"], "positions": all_["positions"][first:last]}


@torch.no_grad()
def test_frame_by_frame_with_the_cache_equals_one_pass() -> None:
    network, told = small_network(), inputs(5)
    whole = network(**told)
    cache = Cache()
    parts = [network(**slice_of(told, n, n + 1), cache=cache, remember=1) for n in range(5)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_writing_the_last_frame_together_with_the_next_equals_one_pass() -> None:
    network, told = small_network(), inputs(4)
    whole = network(**told)
    cache = Cache()
    made = [network(**slice_of(told, 0, 1), cache=cache)]
    for n in range(1, 4):
        made.append(network(**slice_of(told, n - 1, n + 1), cache=cache, remember=1)[:, -1:])
    torch.testing.assert_close(torch.cat(made, dim=1), whole, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_the_past_does_not_see_the_future() -> None:
    network, told = small_network(), inputs(4)
    before = network(**told)[:, :3]
    told["noisy"] = told["noisy"].clone()
    told["noisy"][:, 3] += 5.0
    assert torch.equal(network(**told)[:, :3], before)


@torch.no_grad()
def test_text_and_planes_are_heard() -> None:
    network, told = small_network(), inputs(2)
    before = network(**told)
    assert not torch.allclose(network(**(told | {"text": torch.tensor([[3, 3, 0]])})), before)
    assert not torch.allclose(network(**(told | {"planes": told["planes"] + 1.0})), before)


def test_rotation_depends_on_distance_only() -> None:
    x, y = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(2))
    near = (rotate(x, turns(torch.tensor([3.0]), 4, 100.0)) * rotate(y, turns(torch.tensor([1.0]), 4, 100.0))).sum()
    far = (rotate(x, turns(torch.tensor([9.0]), 4, 100.0)) * rotate(y, turns(torch.tensor([7.0]), 4, 100.0))).sum()
    torch.testing.assert_close(near, far)


def test_cache_keeps_the_sink_and_the_newest() -> None:
    cache = Cache()
    cache.keys = [torch.arange(12.0).view(1, 1, 1, 12, 1)]
    cache.values = [torch.arange(12.0).view(1, 1, 1, 12, 1)]
    cache.positions = torch.arange(12.0)
    cache.keep(8)
    assert cache.positions.tolist() == [0.0, *map(float, range(4, 12))]
    assert cache.keys[0].flatten().tolist() == cache.positions.tolist()
