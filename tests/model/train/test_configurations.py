"""Named configurations, curves as a picture, and what the verbs of `elsewhere train` say of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from elsewhere.cli.app import app  # noqa: E402
from elsewhere.model.train import loop  # noqa: E402
from elsewhere.model.train.configurations import CONFIGURATIONS, configuration  # noqa: E402
from elsewhere.model.train.curves import PANEL, draw, smoothed  # noqa: E402
from elsewhere.model.train.networks.transformer import Transformer  # noqa: E402
from elsewhere.model.train.sizes import parameters  # noqa: E402


def call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_sizes_go_from_two_to_sixty_million() -> None:
    sizes = {name: parameters(config.transformer) for name, config in CONFIGURATIONS.items()}
    assert list(sizes.values()) == sorted(sizes.values())
    assert min(sizes.values()) >= 2.0e6
    assert max(sizes.values()) <= 60e6
    for name, size in sizes.items():
        assert not name.endswith("m") or abs(size / 1e6 - float(name.split("-")[-1][:-1])) < 2.5


def test_the_count_is_that_of_the_network() -> None:
    config = CONFIGURATIONS["two-cores-2m"].transformer
    network = Transformer(config)
    words = network.words.weight.shape[0]
    counted = parameters(config) - sum(p.numel() for p in network.parameters())
    assert counted % config.width == 0  # today's vocabulary, which the bare configuration lacks
    assert counted // config.width + words > words


def test_a_name_that_is_none_says_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"config must be one of two-cores-2m, .*got 'two-core'. The nearest is two-cores"
    ):
        configuration("two-core")


def test_configs_are_listed() -> None:
    status, said, _ = call("train", "configs", "--json")
    assert status == 0
    assert set(json.loads(said)) == set(CONFIGURATIONS)
    assert "two-cores" in call("train", "configs")[1]


def test_curves_are_drawn(tmp_path: Path) -> None:
    log = loop.Log(tmp_path / loop.MEASURES, "world", 30, clock=lambda: 1.0)
    for step in range(30):
        log.add(step, {"loss": 1.0 / (1 + step), "forcing": 0.5}, 1)
    image = draw(tmp_path)
    assert image.size == (2 * PANEL[0], PANEL[1])
    assert len(image.getcolors(1 << 16) or []) > 3
    status, said, _ = call("train", "curves", str(tmp_path), "-o", str(tmp_path / "curves.png"))
    assert status == 0
    assert said.strip().endswith("curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_a_mean_of_a_constant_is_the_constant() -> None:
    assert smoothed([2.0] * 9, 4).tolist() == pytest.approx([2.0] * 9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("curves", "nowhere"), "run must be a folder with measures.jsonl"),
        (("tokenizer", "nowhere", "--config", "two-coers"), "The nearest is two-cores"),
        (("tokenizer", "nowhere", "--rate", "3"), "rate must be more than 0 and at most 1; got 3.0"),
        (("tokenizer", "nowhere", "--steps", "2"), "no clips in nowhere"),
        (("tokenizer", "nowhere", "--start", "nowhere"), "no weights at"),
        (("world", "nowhere"), "no weights at"),
        (("finish", "nowhere", "--device", "tpu"), "no weights at"),
    ],
)
def test_mistakes_are_told_and_end_with_status_2(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, complaint = call("train", *arguments)
    assert status == 2
    assert said in " ".join(complaint.split())


def test_a_device_that_is_not_here_is_told() -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda; got 'tpu'"):
        loop.choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device was found"):
            loop.choose_device("cuda")
        assert loop.choose_device("auto").type == "cpu"
