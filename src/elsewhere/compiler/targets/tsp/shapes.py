"""Shapes of transformers by name: a registry that anyone extends in TOML, or a `config.json` of the usual kind.

Knows only sizes: no weights, no graphs.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ShapeError(ValueError):
    """A shape that cannot be; the message names the field or the nearest known name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transformer:
    """A stack of equal blocks. Widths in elements."""

    name: str
    layers: int
    width: int
    heads: int
    key_value_heads: int
    hidden: int
    gated: bool = True
    """Two matrices lead into the hidden layer, not one."""
    cross_tokens: int = 0
    """Tokens of text that a block attends to, 0 for none."""
    vocabulary: int = 0
    tied: bool = False
    """The head's weights are the embedding's."""
    patch: tuple[int, int, int] = (1, 2, 2)
    """Latent frames, rows and columns of a token of a video model."""
    squeeze: tuple[int, int] = (4, 8)
    """Frames and pixels (each way) that the tokenizer makes one."""
    source: str = ""

    def __post_init__(self) -> None:
        low = {"cross_tokens": 0, "vocabulary": 0}
        for field in ("layers", "width", "heads", "key_value_heads", "hidden", *low):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or not low.get(field, 1) <= value < 1 << 24:
                raise ShapeError(f"{field} must be a whole number from {low.get(field, 1)} on, got {value!r}")
        for field, count in (("patch", 3), ("squeeze", 2)):
            value = tuple(getattr(self, field))
            if len(value) != count or not all(isinstance(n, int) and 1 <= n <= 4096 for n in value):
                raise ShapeError(f"{field} must be {count} whole numbers from 1 on, got {getattr(self, field)!r}")
            object.__setattr__(self, field, value)
        if self.width % self.heads or self.heads % self.key_value_heads:
            raise ShapeError(f"{self.width} wide in {self.heads} heads of {self.key_value_heads} does not divide")

    @property
    def head(self) -> int:
        return self.width // self.heads

    @property
    def block_weights(self) -> int:
        """Elements of one block's matrices."""
        kv = self.key_value_heads * self.head
        attention = self.width * (2 * self.width + 2 * kv)
        cross = 4 * self.width**2 if self.cross_tokens else 0
        return attention + cross + self.width * self.hidden * (3 if self.gated else 2)

    @property
    def weights(self) -> int:
        return self.layers * self.block_weights + (1 if self.tied else 2) * self.vocabulary * self.width

    def tokens(self, width: int, height: int, frames: float = 1.0) -> float:
        """Tokens of `frames` pictures of a video."""
        along, across = self.squeeze
        rows, columns = height / across / self.patch[1], width / across / self.patch[2]
        return rows * columns * frames / along / self.patch[0]


REGISTRY: dict[str, Transformer] = {}


def register(shape: Transformer) -> Transformer:
    """Adds a shape, or replaces the one of its name."""
    REGISTRY[shape.name] = shape
    return shape


_WAN = "Wan: Open and Advanced Large-Scale Video Generative Models (2025)"
_LLAMA = "Touvron et al., Llama 2 (2023)"
for _shape in (
    Transformer(
        name="wan-1.3b", layers=30, width=1536, heads=12, key_value_heads=12, hidden=8960, gated=False,
        cross_tokens=512, source=_WAN,
    ),
    Transformer(
        name="wan-14b", layers=40, width=5120, heads=40, key_value_heads=40, hidden=13824, gated=False,
        cross_tokens=512, source=_WAN,
    ),
    Transformer(
        name="dit-30b", layers=48, width=6144, heads=48, key_value_heads=48, hidden=24576, gated=False,
        cross_tokens=512, source="a guess at the size of closed video models; no publication says it",
    ),
    Transformer(
        name="llama-2-7b", layers=32, width=4096, heads=32, key_value_heads=32, hidden=11008, vocabulary=32000,
        source=_LLAMA,
    ),
    Transformer(
        name="llama-2-70b", layers=80, width=8192, heads=64, key_value_heads=8, hidden=28672, vocabulary=32000,
        source=_LLAMA,
    ),
    Transformer(
        name="smollm2-135m", layers=30, width=576, heads=9, key_value_heads=3, hidden=1536, vocabulary=49152,
        tied=True, source="Allal et al., SmolLM2 (2025)",
    ),
):  # fmt: skip
    register(_shape)


def find(name: str, extra: str | Path | None = None) -> Transformer:
    """A shape by name, also from a TOML registry `extra`; or from a `config.json` (a file, or a folder with one).

    Raises ShapeError for an unknown name and for files that hold no shape.
    """
    known = dict(REGISTRY) if extra is None else REGISTRY | load_shapes(Path(extra))
    if name in known:
        return known[name]
    path = Path(name)
    path = path / "config.json" if path.is_dir() else path
    if path.suffix == ".json":
        return _from_config(path)
    near = difflib.get_close_matches(name, known, 1)
    raise ShapeError(
        f"model must be one of {sorted(known)} or a config.json, got {name!r}"
        + (f"; near is {near[0]!r}" if near else "")
    )


def load_shapes(path: Path) -> dict[str, Transformer]:
    """Shapes by name from TOML: a table for each, whose keys are the fields of `Transformer`. Raises ShapeError."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ShapeError(f"{path.name} is no TOML file: {error}") from error
    names = [f.name for f in dataclasses.fields(Transformer) if f.name != "name"]
    found = {}
    for name, table in given.items():
        if not isinstance(table, dict):
            raise ShapeError(f"{path.name}: {name} must be a table of a model, got {table!r}")
        for key in table:
            if key not in names:
                near = difflib.get_close_matches(key, names, 1)
                raise ShapeError(
                    f"{path.name}: {name} has no field {key!r}" + (f"; nearest is {near[0]!r}" if near else "")
                )
        values = {"key_value_heads": table.get("heads"), **table}
        missing = [k for k in ("layers", "width", "heads", "hidden") if k not in values]
        if missing:
            raise ShapeError(f"{path.name}: {name} needs {', '.join(missing)}")
        try:
            found[name] = Transformer(name=name, **values)
        except (ShapeError, TypeError) as error:
            raise ShapeError(f"{path.name}: {name}: {error}") from error
    return found


_KEYS = {
    "layers": ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth"),
    "width": ("hidden_size", "dim", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "num_heads", "n_head", "n_heads"),
    "key_value_heads": ("num_key_value_heads", "num_attention_heads", "num_heads", "n_head", "n_heads"),
    "hidden": ("intermediate_size", "ffn_dim", "n_inner", "d_ff"),
}
_UNGATED = ("gpt2", "bert", "opt", "gpt_neox", "falcon", "bloom", "t2v", "i2v")
"""`model_type`s whose hidden layer has one matrix in; most others of today have two."""


def _from_config(path: Path) -> Transformer:
    try:
        given: Any = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ShapeError(f"{path.name} is no JSON file: {error}") from error
    if not isinstance(given, dict):
        raise ShapeError(f"{path.name} must hold an object, got {type(given).__name__}")
    given = {**given, **given.get("text_config", {})} if isinstance(given.get("text_config"), dict) else given
    if "attention_head_dim" in given and "num_attention_heads" in given:  # video models give the width so
        given = {"hidden_size": given["num_attention_heads"] * given["attention_head_dim"], **given}
    values: dict[str, Any] = {}
    for field, keys in _KEYS.items():
        found = [given[k] for k in keys if given.get(k) is not None]
        if not found:
            raise ShapeError(f"{path.name} needs one of {', '.join(keys)}")
        values[field] = found[0]
    words = given.get("vocab_size", 0)
    if not isinstance(words, int) or words < 0:
        raise ShapeError(f"{path.name}: vocab_size must be a whole number, got {words!r}")
    video = "patch_size" in given or "_class_name" in given
    patch = given.get("patch_size", (1, 2, 2))
    if isinstance(patch, int):
        patch = (1, patch, patch)
    return Transformer(
        name=path.parent.name or path.stem,
        vocabulary=words,
        tied=bool(given.get("tie_word_embeddings", False)),
        gated=not video and given.get("model_type") not in _UNGATED,
        cross_tokens=int(given.get("text_len", 512)) if video and ("text_dim" in given or "text_len" in given) else 0,
        patch=tuple(patch),
        source=str(path.name),
        **values,
    )
