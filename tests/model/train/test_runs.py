"""Runs that are cut off go on to the same bits; full disks, other runs' checkpoints and broken ones are told."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from elsewhere.model.configuration import TokenizerConfig, TransformerConfig  # noqa: E402
from elsewhere.model.train import finish as finish_training  # noqa: E402
from elsewhere.model.train import loop, shards  # noqa: E402
from elsewhere.model.train import tokenizer as tokenizer_training  # noqa: E402
from elsewhere.model.train import world as world_training  # noqa: E402
from elsewhere.model.train.dataset import Clips  # noqa: E402
from elsewhere.model.train.networks.tokenizer import Tokenizer  # noqa: E402
from elsewhere.model.train.networks.transformer import Transformer  # noqa: E402

CODER = TokenizerConfig(encoder_widths=(8, 8, 8, 8), decoder_widths=(8, 8, 8, 8), head_width=8)
WORLD = TransformerConfig(width=24, layers=2, heads=2, vocabulary=("sea", "ball"), memory=True, guidance=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, write_clips: Callable[..., Path]) -> Clips:
    return Clips(write_clips(tmp_path_factory.mktemp("data") / "clips"))


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


class Stopped(Exception):
    """Stands for a kill right after a checkpoint."""


def stages(clips: Clips) -> dict[str, Any]:
    """Each stage as a function of its folder; networks begin anew at each call."""

    def tokenizer(folder: Path) -> torch.nn.Module:
        run = tokenizer_training.TokenizerTraining(steps=6, batch=2, judged=0.3)
        return tokenizer_training.train(clips, CODER, run, folder)

    def world(folder: Path) -> torch.nn.Module:
        torch.manual_seed(1)
        run = world_training.WorldTraining(steps=8, batch=2, forcing=0.1, shortcut=0.3, rollout=0.6)
        return world_training.train(clips, Tokenizer(CODER), WORLD, run, folder)

    def finish(folder: Path) -> torch.nn.Module:
        torch.manual_seed(2)
        run = finish_training.FinishTraining(steps=4, batch=2, pictures=2)
        return finish_training.train(clips, Tokenizer(CODER), Transformer(WORLD), run, folder)

    return {"tokenizer": tokenizer, "world": world, "finish": finish}


@pytest.mark.parametrize("stage", ["tokenizer", "world", "finish"])
def test_a_run_that_was_cut_off_ends_with_the_same_bits(
    stage: str, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"tokenizer": tokenizer_training, "world": world_training, "finish": finish_training}[stage]
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(module, "REPORT_EVERY", 1)
    train = stages(clips)[stage]
    folders = [tmp_path / "whole", tmp_path / "parts"]
    for folder in folders:
        folder.mkdir()
    wanted = train(folders[0])
    save = loop.save_checkpoint
    with monkeypatch.context() as patch:

        def save_and_stop(path: Path, state: dict[str, Any]) -> None:
            save(path, state)
            raise Stopped

        patch.setattr(loop, "save_checkpoint", save_and_stop)
        with pytest.raises(Stopped):
            train(folders[1])
    assert same(train(folders[1]), wanted)
    rows = [loop.read_measures(folder / loop.MEASURES) for folder in folders]
    for row in (*rows[0], *rows[1]):
        del row["seconds"]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == list(range(1, len(rows[0]) + 1))


RUN = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from elsewhere.model.configuration import TokenizerConfig
from elsewhere.model.train import tokenizer, weights
from elsewhere.model.train.dataset import Clips
tokenizer.CHECKPOINT_EVERY = tokenizer.REPORT_EVERY = 3
coder = TokenizerConfig(encoder_widths=(8, 8, 8, 8), decoder_widths=(8, 8, 8, 8), head_width=8)
run = tokenizer.TokenizerTraining(steps=24, batch=2)
network = tokenizer.train(Clips(Path(sys.argv[1])), coder, run, Path(sys.argv[2]))
weights.save(Path(sys.argv[2]) / "tokenizer.safetensors", network, coder, {"steps": 24})
"""


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_file(tmp_path: Path, write_clips: Callable[..., Path]) -> None:
    """SIGKILL at any moment: the file that the resumed run writes has the same bytes."""
    data = write_clips(tmp_path / "clips")
    files = []
    for name in ("whole", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, "-c", RUN, str(data), str(folder)]
        if name == "killed":
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 120.0
            while not (folder / "tokenizer.ckpt").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            assert not (folder / "tokenizer.safetensors").exists()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        files.append((folder / "tokenizer.safetensors").read_bytes())
    assert files[0] == files[1]


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "world.ckpt"
    loop.save_checkpoint(path, {"step": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(loop.CheckpointError, match=r"No space left.*the last good checkpoint is still there"):
        loop.save_checkpoint(path, {"step": 2})
    assert loop.load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(loop.CheckpointError, match="there is no checkpoint yet"):
        loop.save_checkpoint(tmp_path / "other.ckpt", {"step": 1})


def test_another_runs_checkpoint_is_refused(clips: Clips, tmp_path: Path) -> None:
    run = tokenizer_training.TokenizerTraining(steps=1, batch=1)
    tokenizer_training.train(clips, CODER, run, tmp_path)
    with pytest.raises(ValueError, match="is of a run with steps 1, not 2: choose another --run"):
        tokenizer_training.train(clips, CODER, tokenizer_training.TokenizerTraining(steps=2, batch=1), tmp_path)


def test_a_broken_checkpoint_is_told(tmp_path: Path) -> None:
    path = tmp_path / "world.ckpt"
    path.write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(ValueError, match="is not a sound checkpoint"):
        loop.load_checkpoint(path)
    torch.save({"step": Stopped()}, path)  # a pickle of anything but tensors and plain data
    with pytest.raises(ValueError, match="is not a sound checkpoint"):
        loop.load_checkpoint(path)


def test_missing_and_corrupt_clips_are_named(tmp_path: Path, write_clips: Callable[..., Path]) -> None:
    data = write_clips(tmp_path / "clips")
    content = bytearray((data / "clip-000001.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (data / "clip-000001.npz").write_bytes(content)
    with pytest.raises(shards.ShardError, match=r"clip-000001.npz is corrupt"):
        Clips(data)
    (data / "clip-000001.npz").unlink()
    with pytest.raises(shards.ShardError, match=r"clip-000001.npz is missing"):
        Clips(data)


def test_measures_drop_what_was_written_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / loop.MEASURES
    log = loop.Log(path, "world", 10, clock=lambda: 5.0)
    for step in range(4):
        log.add(step, {"loss": float(step)}, 2)
    with path.open("a") as file:
        file.write('{"stage": "world", "st')  # cut off by a kill
    loop.Log(path, "world", 10, first=2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [2]


@pytest.mark.parametrize("step", [0, 5, 199, 200, 999])
def test_the_learning_rate_stays_between_its_ends(step: int) -> None:
    rate = loop.learning_rate(step, 1000, 1e-3)
    assert 0.0 < rate <= 1e-3
    assert loop.learning_rate(1000, 1000, 1e-3) == pytest.approx(0.03e-3)
