"""Every kind of step learns; grounds are drawn by their shares; a network takes over the weights of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from elsewhere.model.configuration import TokenizerConfig, TransformerConfig  # noqa: E402
from elsewhere.model.train import grounds, world  # noqa: E402
from elsewhere.model.train.dataset import Clips  # noqa: E402
from elsewhere.model.train.loop import Optimizers  # noqa: E402
from elsewhere.model.train.networks.tokenizer import Tokenizer  # noqa: E402
from elsewhere.model.train.networks.transformer import Transformer  # noqa: E402

CODER = TokenizerConfig(encoder_widths=(8, 8, 8, 8), decoder_widths=(8, 8, 8, 8), head_width=8)
WORLD = TransformerConfig(width=24, layers=2, heads=2, vocabulary=("sea", "ball"), memory=True, guidance=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, write_clips: Callable[..., Path]) -> Clips:
    return Clips(write_clips(tmp_path_factory.mktemp("data") / "clips", height=48))


def batch_of(clips: Clips, number: int = 0) -> world.Batch:
    run = world.WorldTraining(batch=2)
    rng = np.random.Generator(np.random.Philox(key=[1, number]))
    torch.manual_seed(0)
    return world.draw_batch(clips, world.Latents(Tokenizer(CODER), clips), WORLD, run, rng)


def test_every_kind_of_step_of_the_world_learns(clips: Clips) -> None:
    torch.manual_seed(0)
    network, seen = Transformer(WORLD), set()
    with torch.no_grad():  # the output starts at zero, where nothing before it learns
        network.out.weight.normal_(std=0.1)
        network.modulation.weight.normal_(std=0.1)
    run = world.WorldTraining(batch=2)
    for number in range(25):
        terms = world.loss_of(network, batch_of(clips, number), 0.95, run, torch.Generator().manual_seed(number))
        assert bool(torch.isfinite(terms["loss"]))
        terms["loss"].backward()
        seen |= set(terms)
    assert {"forcing", "both ways", "shortcut", "rollout", "guidance"} <= seen
    names = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"memory_in.2.weight", "guidance_in.weight", "out.weight"} <= names


def test_grounds_are_drawn_by_their_shares() -> None:
    rng = np.random.default_rng(0)
    drawn = [grounds.draw_ground(rng) for _ in range(4000)]
    counts = Counter(kind for kind, _ in drawn)
    for kind, share in grounds.SHARES.items():
        assert abs(counts[kind] / 4000 - share) < 0.03
    between = [weights for kind, weights in drawn if kind == "between"]
    assert all(len(set(weights.tolist())) == 1 for weights in between)
    assert 0.4 < np.mean([weights[0] for weights in between]) < 0.6
    assert all(weights[-1] == 0.0 for kind, weights in drawn if kind in ("dream", "depth", "layout"))


def test_what_has_no_lit_picture_is_coded_as_a_dream(clips: Clips) -> None:
    from elsewhere.model.planes import plane_weights

    torch.manual_seed(0)
    latents = world.Latents(Tokenizer(CODER), clips)
    dream, depth, half, full = (
        latents.of(0, plane_weights(*given)) for given in (("full", 0.0), ("depth", 1.0), ("full", 0.5), ("full", 1.0))
    )
    np.testing.assert_array_equal(dream, depth)
    assert not np.array_equal(half, full)
    assert not np.array_equal(half, dream)


def test_a_memory_is_spoilt_but_stays_a_picture() -> None:
    memory = np.random.default_rng(0).random((6, 4, 8, 8)).astype(np.float32)
    memory[:, 3] = memory[:, 3] > 0.5
    memory[:, :3] *= memory[:, 3:]
    spoilt = world.corrupted(memory, np.random.default_rng(1))
    assert spoilt.shape == memory.shape
    assert spoilt.min() >= 0.0
    assert spoilt.max() <= 1.0
    assert np.all(spoilt[:, :3] * (memory[:, 3:] == 0.0) == 0.0)
    assert not np.array_equal(spoilt, memory)


def test_what_moves_counts_more() -> None:
    latents = torch.zeros(1, 3, 4, 2, 2)
    latents[:, 1:, :, 0, 0] = 1.0
    weight = world.moving_weight(latents)
    assert weight.mean().item() == pytest.approx(1.0)
    assert weight[0, 1, 0, 0, 0] > 2.0 * weight[0, 1, 0, 1, 1]


def test_a_larger_network_takes_over_what_fits() -> None:
    torch.manual_seed(0)
    plain = TransformerConfig(width=24, layers=2, heads=2, vocabulary=("ball", "gone"))
    start = Transformer(plain)
    network = world.begin(WORLD, start)
    assert torch.equal(network.blocks[0].space_in.weight, start.blocks[0].space_in.weight)
    assert torch.equal(network.words.weight[3], start.words.weight[2])  # "ball" by its name
    assert not bool(network.memory_in[2].weight.any())
    with pytest.raises(ValueError, match="start must have the sizes of the configuration"):
        world.begin(replace(WORLD, width=48), start)


def test_new_inputs_change_nothing_before_they_are_taught() -> None:
    torch.manual_seed(0)
    start = Transformer(replace(WORLD, memory=False, guidance=False))
    with torch.no_grad():
        for parameter in start.parameters():
            parameter.copy_(0.2 * torch.randn_like(parameter))
    network = world.begin(WORLD, start)
    told = {
        "noisy": torch.randn(1, 3, 16, 2, 2),
        "level": torch.rand(1, 3),
        "step": torch.zeros(1, 3),
        "planes": torch.randn(1, 3, 24, 8, 8),
        "camera": torch.randn(1, 3, 4, 12),
        "text": torch.zeros(1, 24, dtype=torch.long),
        "positions": torch.arange(3.0),
    }
    more = {"memory": torch.rand(1, 3, 4, 8, 8), "guidance": torch.tensor([3.0])}
    with torch.no_grad():
        torch.testing.assert_close(network(**told, **more), start(**told))
    with pytest.raises(ValueError, match="memory must be None"):
        start(**told, memory=more["memory"])


def test_muon_takes_the_matrices_of_blocks_and_nothing_else() -> None:
    network = Transformer(WORLD)
    optimizers = Optimizers(network, 1e-3, muon=True, betas=(0.9, 0.98))
    adam, muon = ({id(p) for g in part.param_groups for p in g["params"]} for part in optimizers.parts)
    assert not adam & muon
    assert len(adam | muon) == len(list(network.parameters()))
    assert id(network.blocks[0].space_in.weight) in muon
    assert id(network.blocks[0].modulation) in adam
    assert id(network.words.weight) in adam
