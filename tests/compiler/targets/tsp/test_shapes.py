"""Shapes by name, from TOML, and from configurations of the usual kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elsewhere.compiler.targets.tsp.shapes import ShapeError, find

LLAMA = {
    "model_type": "llama", "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8,
    "num_key_value_heads": 2, "intermediate_size": 1024, "vocab_size": 100, "tie_word_embeddings": True,
}  # fmt: skip
VIDEO = {
    "_class_name": "WanTransformer3DModel", "num_layers": 30, "num_attention_heads": 12, "attention_head_dim": 128,
    "ffn_dim": 8960, "text_dim": 4096, "patch_size": [1, 2, 2],
}  # fmt: skip


def test_a_language_models_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    shape = find(str(tmp_path))
    assert (shape.layers, shape.head, shape.key_value_heads, shape.gated, shape.tied) == (4, 64, 2, True, True)
    assert shape.weights == 4 * (512 * (2 * 512 + 2 * 128) + 3 * 512 * 1024) + 100 * 512


def test_a_video_models_configuration_is_the_registered_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(VIDEO))
    shape, known = find(str(tmp_path / "config.json")), find("wan-1.3b")
    assert shape.width == known.width and shape.block_weights == known.block_weights
    assert shape.cross_tokens == known.cross_tokens == 512


def test_a_registry_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[mine]\nlayers = 2\nwidth = 64\nheads = 4\nhidden = 128\ngated = false\npatch = [1, 1, 1]\n")
    shape = find("mine", path)
    assert (shape.name, shape.key_value_heads, shape.patch) == ("mine", 4, (1, 1, 1))
    assert find("wan-14b", path).layers == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mine]\nlayers = 2\nwidth = 64\nheads = 4\n", "needs hidden"),
        ("[mine]\nlayers = 2\nwidht = 64\n", "nearest is 'width'"),
        ("[mine]\nlayers = 2\nwidth = 65\nheads = 4\nhidden = 1\n", "does not divide"),
        ("[mine]\nlayers = 0\nwidth = 64\nheads = 4\nhidden = 1\n", "layers must be"),
        ("[mine]\nlayers = 1\nwidth = 64\nheads = 4\nhidden = 1\npatch = [1, 2]\n", "patch must be 3"),
        ("mine = 3\n", "must be a table"),
        ("mine", "no TOML"),
    ],
)
def test_malformed_registries_are_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ShapeError, match=message):
        find("mine", path)


@pytest.mark.parametrize(
    ("text", "message"), [("[]", "must hold an object"), ("{", "no JSON"), ('{"num_layers": 3}', "needs one of")]
)
def test_malformed_configurations_are_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ShapeError, match=message):
        find(str(tmp_path))


def test_unknown_names_are_told() -> None:
    with pytest.raises(ShapeError, match="near is 'wan-14b'"):
        find("wan-14")
