"""The compiled networks against torch: whole films, and each graph with small random weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from elsewhere.compiler.targets import reference  # noqa: E402
from elsewhere.model import Generator  # noqa: E402
from elsewhere.model.configuration import TokenizerConfig, TransformerConfig  # noqa: E402
from elsewhere.model.graphs.tokenizer import decoder_graph, encoder_graph, tokenizer_shapes  # noqa: E402
from elsewhere.model.graphs.transformer import transformer_shapes  # noqa: E402
from elsewhere.model.train import weights  # noqa: E402
from elsewhere.model.train.networks.tokenizer import Tokenizer  # noqa: E402
from elsewhere.model.train.networks.transformer import Transformer  # noqa: E402
from elsewhere.model.train.painter import TorchGenerator  # noqa: E402
from elsewhere.model.train.world import begin  # noqa: E402
from elsewhere.model.weights import DIRECTORY, WeightsError  # noqa: E402
from elsewhere.physics import World  # noqa: E402
from elsewhere.render import Stage  # noqa: E402
from elsewhere.scene import camera_at, parse  # noqa: E402

PROMPT = "two pirate ships battling each other as they sail inside a cup of coffee"
SMALL = TokenizerConfig(encoder_widths=(4, 5, 6, 7), decoder_widths=(4, 5, 6, 7), head_width=5, latent_channels=3)


def relative(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.square(made - wanted).mean() / np.square(wanted).mean()))


@pytest.fixture(scope="module")
def all_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with every optional input: the shipped ones, and at random what is new."""
    directory = tmp_path_factory.mktemp("weights")
    network = weights.load(DIRECTORY / "world.safetensors", Transformer, TransformerConfig)
    torch.manual_seed(0)
    config = replace(network.config, memory=True, guidance=True)
    taught = begin(config, network)
    with torch.no_grad():
        for layer in (taught.memory_in[2], taught.guidance_in):
            layer.weight.add_(0.05 * torch.randn_like(layer.weight))
    weights.save(directory / "world.safetensors", taught, config, {})
    shutil.copy(DIRECTORY / "tokenizer.safetensors", directory)
    return directory


@pytest.mark.parametrize(
    ("mode", "steps", "frames", "tolerance", "more"),
    [
        ("grounded", 1, 30, 1e-5, {}),
        ("grounded", 2, 13, 1e-5, {"strength": 0.5, "guidance": 3.0}),
        ("dream", 4, 4, 2e-5, {"guidance": 2.0}),
        ("grounded", 1, 3, 1e-5, {"ground": "depth"}),
        ("grounded", 1, 3, 1e-5, {"ground": "layout", "strength": 0.7}),
    ],
)
def test_a_film_is_the_same_as_by_torch(
    mode: str, steps: int, frames: int, tolerance: float, more: dict[str, Any], all_inputs: Path
) -> None:
    """Past the first rounds of the cache's ring; latents drift apart by rounding alone."""
    width, height = 80, 64
    scene = parse(PROMPT).scene
    world = World(scene, 0)
    stage = Stage(scene, world.swell, world.water_cell)
    ours = Generator.load(mode, steps=steps, precision="f32", directory=all_inputs, **more).start(scene, 5)
    theirs = TorchGenerator.load(mode, steps=steps, directory=all_inputs, **more).start(scene, 5)
    previous = None
    for frame in range(frames):
        state = world.advance(10) if frame else world.state
        camera = camera_at(scene, frame / 24.0, width, height, yaw=0.01 * frame)
        guide = stage.guide(state, camera, previous)
        made, depth = ours.frame(guide, stage, camera)
        wanted, wanted_depth = theirs.frame(guide, stage, camera)
        assert ours.past is not None
        assert theirs.past is not None
        latents = theirs.past["latents"][0].flatten(1).T.numpy()
        assert relative(ours.past.latents, latents) < tolerance, frame
        assert np.abs(made.astype(int) - wanted).max() <= 1
        np.testing.assert_allclose(depth, wanted_depth, rtol=5e-3)
        previous = (state, camera)


def random_tokenizer() -> Tokenizer:
    torch.manual_seed(0)
    network = Tokenizer(SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return network


def test_every_weight_has_its_shape() -> None:
    for network, shapes in (
        (Tokenizer(SMALL), tokenizer_shapes(SMALL)),
        *(
            (Transformer(config), transformer_shapes(config))
            for config in (TransformerConfig(layers=5), TransformerConfig(layers=2, memory=True, guidance=True))
        ),
    ):
        assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == shapes


def test_tokenizer_graphs_are_the_module() -> None:
    network = random_tokenizer()
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    rng = np.random.default_rng(1)
    height, width = 32, 48
    planes = rng.uniform(-1.0, 1.0, (height, width, 24)).astype(np.float32)
    picture = rng.uniform(0.0, 1.0, (height, width, 4)).astype(np.float32)
    latents = rng.standard_normal((6, 3)).astype(np.float32)
    first = [torch.from_numpy(np.moveaxis(x, -1, 0).copy())[None] for x in (picture, planes)]
    with torch.inference_mode():
        coded = network.encoder(*first)[0].flatten(1).T.numpy()
        drawn = network.decoder(torch.from_numpy(latents.T.reshape(1, 3, 2, 3).copy()), first[1])[0].numpy()
    encoded, _ = reference.run(encoder_graph(SMALL, arrays, height, width), {"picture": picture, "planes": planes})
    decoded, _ = reference.run(decoder_graph(SMALL, arrays, height, width), {"latents": latents, "planes": planes})
    assert relative(encoded["latents"], coded) < 1e-5
    assert relative(decoded["picture"], np.moveaxis(drawn, 0, -1)) < 1e-5


def test_weights_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.safetensors"
    network = random_tokenizer()
    weights.save(path, network, SMALL, {"steps": 1})
    again = weights.load(path, Tokenizer, TokenizerConfig)
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name].half().float())
    with pytest.raises(WeightsError, match="does not fit its own configuration"):
        weights.load(path, lambda _: Tokenizer(TokenizerConfig()), TokenizerConfig)
