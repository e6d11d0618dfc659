"""The window graph against the torch network, for masks that look back and for those that look ahead."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from elsewhere.compiler.targets import reference  # noqa: E402
from elsewhere.compiler.targets.cpu.machine import describe  # noqa: E402
from elsewhere.compiler.targets.cpu.runtime import Network  # noqa: E402
from elsewhere.model.configuration import TransformerConfig  # noqa: E402
from elsewhere.model.graphs.transformer import Tables, look_graph  # noqa: E402
from elsewhere.model.graphs.window import visible_frames, window_graph  # noqa: E402
from elsewhere.model.network import compiled  # noqa: E402
from elsewhere.model.train.networks.transformer import Transformer  # noqa: E402

SMALL = TransformerConfig(latent_channels=4, width=24, layers=4, heads=2, text_length=3, vocabulary=("red", "ball"))
FRAMES, ROWS, COLUMNS = 5, 2, 3
HEIGHT, WIDTH = 16 * ROWS, 16 * COLUMNS
TOLERANCE = 3e-4
"""Torch embeds levels in f32, whose angles reach 1000 radians; the tables are f64."""


class Case:
    """Random weights and inputs, for torch and for the graph."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = Transformer(SMALL).eval()
        with torch.no_grad():  # the modulation and the output start at zero, where nothing could be told apart
            for parameter in self.network.parameters():
                parameter.copy_(0.3 * torch.randn_like(parameter))
        self.weights = {name: value.numpy() for name, value in self.network.state_dict().items()}
        rng = np.random.default_rng(1)
        self.noisy = rng.standard_normal((FRAMES, ROWS * COLUMNS, 4)).astype(np.float32)
        self.rays = rng.standard_normal((FRAMES, ROWS * COLUMNS, 12)).astype(np.float32)
        self.planes = rng.uniform(-1.0, 1.0, (FRAMES, HEIGHT, WIDTH, SMALL.planes)).astype(np.float32)
        self.levels = rng.uniform(0.0, 1.0, FRAMES)
        self.steps = np.array([0.0, 0.25, 0.0, 1.0, 0.5])
        self.positions = np.array([0.0, 1.0, 3.0, 4.0, 6.5])

    def by_torch(self, order: list[int]) -> np.ndarray:
        """(T, N, C) of the frames in `order`, each seeing those before it in that order."""
        planes = torch.from_numpy(np.moveaxis(self.planes[order], -1, 1).copy())
        noisy = torch.from_numpy(self.noisy[order]).transpose(1, 2).unflatten(2, (ROWS, COLUMNS))
        with torch.inference_mode():
            made = self.network(
                noisy[None],
                torch.from_numpy(self.levels[order]).float()[None],
                torch.from_numpy(self.steps[order]).float()[None],
                torch.nn.functional.avg_pool2d(planes, 4)[None],
                torch.from_numpy(self.rays[order])[None],
                torch.tensor([[2, 3, 0]]),
                torch.from_numpy(self.positions[order]).float(),
            )[0]
        return made.flatten(2).transpose(1, 2).numpy()

    def given(self, visible: np.ndarray) -> dict[str, np.ndarray]:
        tables = Tables(config=SMALL, weights=self.weights)
        look = look_graph(SMALL, self.weights, HEIGHT, WIDTH)
        cosines, sines = tables.time_turns(tuple(self.positions))
        keys, values = (np.repeat(told[:, None], FRAMES, axis=1) for told in tables.text(np.array([2, 3, 0])))
        return {
            "noisy": self.noisy,
            "rays": self.rays,
            "features": np.stack([reference.run(look, {"planes": p})[0]["features"] for p in self.planes]),
            "modulation": tables.modulation(tuple(self.levels), tuple(self.steps)),
            "text keys": keys,
            "text values": values,
            "cosines": cosines,
            "sines": sines,
            "visible": visible,
        }


def relative(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.square(made - wanted).mean() / np.square(wanted).mean()))


def test_a_window_is_the_module() -> None:
    case = Case()
    graph = window_graph(SMALL, case.weights, FRAMES, HEIGHT, WIDTH)
    back = visible_frames(FRAMES, future=False)
    made, _ = reference.run(graph, case.given(back))
    assert relative(made["clean"], case.by_torch([0, 1, 2, 3, 4])) < TOLERANCE
    # Seen from its end a film is causal the other way round.
    ahead, _ = reference.run(graph, case.given(back.T.copy()))
    assert relative(ahead["clean"], case.by_torch([4, 3, 2, 1, 0])[::-1]) < TOLERANCE
    # A mask that is neither: the known frames 0 and 4 are seen by all, every other frame by itself alone.
    ends = np.where(np.eye(FRAMES, dtype=bool), 0.0, back.min()).astype(np.float32)
    ends[:, [0, 4]] = 0.0
    mixed, _ = reference.run(graph, case.given(ends))
    for frame in (1, 2, 3):
        part = Case()
        visible = np.full_like(ends, back.min())
        visible[frame, [0, 4, frame]] = 0.0
        visible[np.ix_([0, 4], [0, 4])] = 0.0
        alone, _ = reference.run(graph, part.given(visible))
        np.testing.assert_allclose(alone["clean"][frame], mixed["clean"][frame], atol=1e-5)
    assert not np.allclose(mixed["clean"], made["clean"])


def test_the_native_window_agrees_with_the_oracle() -> None:
    case = Case()
    graph = window_graph(SMALL, case.weights, FRAMES, HEIGHT, WIDTH)
    given = case.given(visible_frames(FRAMES, future=True))
    wanted, _ = reference.run(graph, given)
    code = compiled(graph, describe(), (1, 2), "f32")
    network = Network(code.program, describe(), 1, code.library)
    for name, values in given.items():
        network.write(name, values)
    network.run()
    assert relative(network.read("clean"), wanted["clean"]) < 2e-6
