"""A training run that is cut off and goes on ends with the same weights as one that is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from elsewhere.model.configuration import TokenizerConfig, TransformerConfig  # noqa: E402
from elsewhere.model.train import tokenizer as tokenizer_training  # noqa: E402
from elsewhere.model.train import world as world_training  # noqa: E402
from elsewhere.model.train.data import DataConfig, write_clip  # noqa: E402
from elsewhere.model.train.dataset import Clips  # noqa: E402
from elsewhere.model.train.loop import learning_rate  # noqa: E402
from elsewhere.model.train.networks.tokenizer import Tokenizer  # noqa: E402
from elsewhere.model.train.shards import Manifest  # noqa: E402

CODER = TokenizerConfig(encoder_widths=(8, 8, 8, 8), decoder_widths=(8, 8, 8, 8), head_width=8)
WORLD = TransformerConfig(width=24, layers=2, heads=2, vocabulary=("sea",))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    directory = tmp_path_factory.mktemp("clips")
    config = DataConfig(clips=2, frames=3, sizes=((64, 64, 1.0),), samples=1)
    manifest = Manifest(directory, config.made())
    for number in range(2):
        manifest.add(write_clip(config, directory, number))
    return Clips(directory)


def test_tokenizer_goes_on_where_it_was(clips: Clips, tmp_path: Path) -> None:
    run = tokenizer_training.TokenizerTraining(steps=4, batch=2, crop=64)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    wanted = tokenizer_training.train(clips, CODER, run, whole)
    first = torch.load(whole / "tokenizer.ckpt", weights_only=True)
    assert first["step"] == 4
    cut = replace(run, steps=4)
    _stop_after(tokenizer_training, 2, lambda: tokenizer_training.train(clips, CODER, cut, parts))
    made = tokenizer_training.train(clips, CODER, cut, parts)
    for a, b in zip(wanted.parameters(), made.parameters(), strict=True):
        assert torch.equal(a, b)


def _stop_after(module: object, steps: int, run: object) -> None:
    """Runs until `steps` steps have been taken, checkpoints there, and breaks off as Ctrl-C would."""
    original_log = module.Log  # type: ignore[attr-defined]
    original_save = module.save_checkpoint  # type: ignore[attr-defined]
    held: dict = {}

    class Stopping(original_log):  # type: ignore[misc, valid-type]
        def add(self, step: int, values: dict, every: int) -> None:
            if step + 1 == steps:
                held["stop"] = True
            super().add(step, values, every)

    def rate(step: int, total: int, peak: float, warmup: int = 200) -> float:
        if held.get("stop"):
            raise KeyboardInterrupt
        return learning_rate(step, total, peak, warmup)

    module.Log, module.learning_rate = Stopping, rate  # type: ignore[attr-defined]
    module.CHECKPOINT_EVERY, before = steps, module.CHECKPOINT_EVERY  # type: ignore[attr-defined]
    try:
        with pytest.raises(KeyboardInterrupt):
            run()  # type: ignore[operator]
    finally:
        module.Log, module.learning_rate = original_log, learning_rate  # type: ignore[attr-defined]
        module.save_checkpoint, module.CHECKPOINT_EVERY = original_save, before  # type: ignore[attr-defined]


def test_every_kind_of_step_of_the_world_learns(clips: Clips) -> None:
    torch.manual_seed(0)
    latents = world_training.encode_clips(Tokenizer(CODER), clips)
    network = world_training.Transformer(WORLD)
    run = world_training.WorldTraining(batch=2)
    seen: set[str] = set()
    for number in range(40):
        rng = np.random.Generator(np.random.Philox(key=[1, number]))
        batch = world_training.draw_batch(clips, latents, WORLD, run, rng)
        terms = world_training.loss_of(network, batch, 0.9, run, torch.Generator().manual_seed(number))
        assert bool(torch.isfinite(terms["loss"]))
        terms["loss"].backward()
        seen |= set(terms)
    assert {"forcing", "shortcut", "rollout"} <= seen
    assert all(p.grad is not None for name, p in network.named_parameters() if "modulation" in name)
