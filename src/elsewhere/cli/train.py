"""`elsewhere data` and `elsewhere train`: make training clips, and networks from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elsewhere.cli.report import USER_MISTAKE, complain, interruptible, print_json, user_errors

if TYPE_CHECKING:
    from elsewhere.model.train.configurations import Configuration

data = typer.Typer(help="Make training data.", no_args_is_help=True)
train = typer.Typer(help="Train the networks. A run that was cut off goes on where it was.", no_args_is_help=True)

Clips = Annotated[Path, typer.Argument(help="Folder of clips, as `elsewhere data build` makes it.")]
Run = Annotated[Path, typer.Option("--run", help="Folder for checkpoints, measures and weights.")]
Config = Annotated[str, typer.Option("--config", help="Sizes and schedule; see `elsewhere train configs`.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Other than the configuration's.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Other than the configuration's.")]
Rate = Annotated[float | None, typer.Option(help="Peak learning rate, other than the configuration's.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Other than the configuration's.")]
Start = Annotated[Path | None, typer.Option("--start", help="Folder of weights to begin with, else random ones.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@data.command("build")
def build(
    directory: Annotated[Path, typer.Argument(help="Folder for the clips; what is there already is kept.")],
    clips: Annotated[int, typer.Option(help="Clips in all, those that are there included.")] = 900,
    frames: Annotated[int, typer.Option(help="Frames of a clip.")] = 8,
    size: Annotated[
        list[str] | None,
        typer.Option(help="WIDTHxHEIGHT or WIDTHxHEIGHT=SHARE; may be repeated. By default mostly 128x128."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Most paths per pixel of the reference.")] = 12,
    seed: Annotated[int, typer.Option(help="Another seed, other clips.")] = 1,
    first: Annotated[int, typer.Option(help="Number of the first clip, to share a set between machines.")] = 0,
    evaluation: Annotated[
        bool, typer.Option("--evaluation", help="Combinations that training never sees, instead of the others.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Read what is there, and make again what is corrupt.")] = False,
    processes: Annotated[int, typer.Option(help="Processes; their number changes nothing in the clips.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, without progress.")] = False,
) -> None:
    """Sample prompts, play their worlds and path-trace them: pairs of guide and picture, with captions and poses.

    A build that was cut off goes on where it was; the clips are the same whatever happened, and each has its SHA-256
    in manifest.jsonl.

    Examples:

      elsewhere data build clips --clips 900

      elsewhere data build clips --size 128x128=0.8 --size 192x128=0.2 --samples 24

      elsewhere data build held-out --clips 48 --samples 64 --evaluation

      elsewhere data build clips --clips 900 --check
    """
    with user_errors(), interruptible("Stopped; run the same command again to go on."):
        from elsewhere.model.train.data import SIZES, DataConfig
        from elsewhere.model.train.data import build as build_clips

        config = DataConfig(
            clips=clips,
            frames=frames,
            sizes=tuple(_size(text) for text in size) if size else SIZES,
            samples=samples,
            seed=seed,
            first=first,
            evaluation=evaluation,
            processes=processes,
        )

        def say(made: int, left: int, seconds: float) -> None:
            if (made % 10 == 0 or not left or made == 1) and not as_json:
                typer.echo(
                    f"{clips - left} of {clips} clips, {made * frames / seconds:.2f} frames/s, "
                    f"{seconds / made * left / 60.0:.1f} min left"
                )

        report = build_clips(config, directory, check=check, report=say)
        if as_json:
            print_json(report)
        else:
            again = f", {len(report['corrupt'])} of them corrupt before" if report["corrupt"] else ""
            weight = f"{report['bytes'] / 1e6:.0f} MB"
            typer.echo(f"{report['clips']} clips in {directory}, {weight}; {report['made']} made now{again}")


@data.command("report")
def report(
    directory: Clips,
    picture: Annotated[Path | None, typer.Option(help="Write a contact sheet here (.png).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Say what a set of clips covers: counts per attribute, pairs that have met, how heads move.

    Examples:

      elsewhere data report clips

      elsewhere data report clips --picture sheet.png --json
    """
    with user_errors(), interruptible("Stopped."):
        from elsewhere.model.train import coverage

        found = coverage.report(directory)
        if picture is not None:
            from PIL import Image

            if picture.suffix.lower() != ".png":
                raise ValueError(f"picture must end with .png, got {picture.name[:80]!r}")
            Image.fromarray(coverage.sheet(directory)).save(picture)
    if as_json:
        print_json(found)
        return
    speed = found["camera_degrees_per_second"]
    typer.echo(
        f"{found['clips']} clips, {found['frames']} frames, {found['bytes'] / 1e6:.0f} MB; "
        + ", ".join(f"{count} of {size}" for size, count in found["sizes"].items())
    )
    typer.echo(f"{found['different_captions']} different captions, {found['sentences_per_clip']} sentences a clip")
    typer.echo(
        f"{found['heads_at_rest']:.0%} of the heads at rest; the camera turns at {speed['median']}°/s (median), "
        f"{speed['p95']}°/s (95 %), at most {speed['most']}°/s"
    )
    pixels = found["pixels_per_frame"]
    typer.echo(
        f"{found['moving_things']:.0%} of the things in view move, by {pixels['median']} pixels of 128 a frame "
        f"(median), {pixels['p95']} (95 %), {pixels['p99.5']} (99.5 %)"
    )
    for name, counts in found["counts"].items():
        typer.echo(f"{name}: " + ", ".join(f"{value} {count}" for value, count in counts.items()))
    for name, values in found["never"].items():
        if values:
            typer.echo(f"no {name}: {', '.join(values)}")
    typer.echo("pairs that have met, of those whose parts come at all:")
    for name, row in found["pairs"].items():
        typer.echo(f"  {name:20s} {row['met']:5d} of {row['of']:5d}  {row['share']:.0%}")


def _size(text: str) -> tuple[int, int, float]:
    """Width, height and share from "192x128" or "192x128=0.2". ValueError for anything else."""
    sides, _, share = text.lower().replace("×", "x").partition("=")
    parts = sides.split("x")
    try:
        width, height = (int(part) for part in parts)
        return width, height, float(share) if share else 1.0
    except ValueError:
        raise ValueError(f"size must be like 192x128 or 192x128=0.2; got {text[:40]!r}") from None


@contextmanager
def a_run() -> Iterator[None]:
    """What all training shares: how it speaks of mistakes, of a missing torch and of Ctrl-C."""
    with user_errors(), interruptible("Stopped; run the same command again to go on from the last checkpoint."):
        try:
            yield
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            complain("training needs torch, which is not installed. Get it with: pip install 'elsewhere[train]'")
            raise typer.Exit(USER_MISTAKE) from None


def chosen(plan: Any, **changes: Any) -> Any:
    """`plan` with the changes that were asked for. Raises ValueError for a rate that is none."""
    rate = changes.get("peak_rate")
    if rate is not None and not 0.0 < rate <= 1.0:
        raise ValueError(
            f"rate must be more than 0 and at most 1; got {rate}. The nearest is {1.0 if rate > 1 else 1e-4}"
        )
    return replace(plan, **{name: value for name, value in changes.items() if value is not None})


def opened(run: Path, config: str) -> Configuration:
    """The configuration of that name, and the folder of the run, made where it is missing."""
    from elsewhere.model.train.configurations import configuration

    found = configuration(config)
    run.mkdir(parents=True, exist_ok=True)
    return found


def card_of(kind: str, config: str, plan: Any, clips: int, start: Path | None) -> dict[str, Any]:
    """What a weights file says of itself."""
    card = {"kind": kind, "config": config, "clips": clips, "steps": plan.steps, "batch": plan.batch, "seed": plan.seed}
    return card | ({"started from": f"{start.name}/{kind}.safetensors"} if start else {})


@train.command("tokenizer")
def tokenizer(
    clips: Clips,
    run: Run = Path("run"),
    config: Config = "two-cores",
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    seed: Seed = None,
    start: Start = None,
    device: Device = "auto",
) -> None:
    """Train the tokenizer. Example: elsewhere train tokenizer clips --run run --config two-cores"""
    with a_run():
        from elsewhere.model.configuration import TokenizerConfig
        from elsewhere.model.train import tokenizer as training
        from elsewhere.model.train import weights
        from elsewhere.model.train.dataset import Clips as ClipSet
        from elsewhere.model.train.networks.tokenizer import Tokenizer

        found = opened(run, config)
        plan = chosen(found.tokenizer_training, steps=steps, batch=batch, peak_rate=rate, seed=seed, device=device)
        begun = weights.load(start / "tokenizer.safetensors", Tokenizer, TokenizerConfig) if start else None
        clip_set = ClipSet(clips)
        network = training.train(clip_set, found.tokenizer, plan, run, begun)
        card = card_of("tokenizer", config, plan, len(clip_set), start)
        weights.save(run / "tokenizer.safetensors", network, found.tokenizer, card)


@train.command("world")
def world(
    clips: Clips,
    run: Run = Path("run"),
    config: Config = "two-cores",
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    seed: Seed = None,
    muon: Annotated[bool | None, typer.Option(help="Muon on the matrices of blocks, or AdamW on all.")] = None,
    start: Start = None,
    device: Device = "auto",
) -> None:
    """Train the transformer on a trained tokenizer's latents. Example: elsewhere train world clips --run run"""
    with a_run():
        from elsewhere.model.configuration import TokenizerConfig, TransformerConfig
        from elsewhere.model.train import weights
        from elsewhere.model.train import world as training
        from elsewhere.model.train.dataset import Clips as ClipSet
        from elsewhere.model.train.networks.tokenizer import Tokenizer
        from elsewhere.model.train.networks.transformer import Transformer
        from elsewhere.scene.words import vocabulary

        found = opened(run, config)
        coder = weights.load(run / "tokenizer.safetensors", Tokenizer, TokenizerConfig)
        asked = {"steps": steps, "batch": batch, "peak_rate": rate, "seed": seed, "muon": muon, "device": device}
        plan, size = chosen(found.world_training, **asked), replace(found.transformer, vocabulary=vocabulary())
        begun = weights.load(start / "world.safetensors", Transformer, TransformerConfig) if start else None
        clip_set = ClipSet(clips)
        network = training.train(clip_set, coder, size, plan, run, begun)
        weights.save(run / "world.safetensors", network, size, card_of("world", config, plan, len(clip_set), start))


@train.command("finish")
def finish(
    clips: Clips,
    run: Run = Path("run"),
    config: Config = "two-cores",
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    seed: Seed = None,
    device: Device = "auto",
) -> None:
    """Fine-tune the decoder on the transformer's own predictions. Example: elsewhere train finish clips --run run"""
    with a_run():
        from elsewhere.model.configuration import TokenizerConfig, TransformerConfig
        from elsewhere.model.train import finish as training
        from elsewhere.model.train import weights
        from elsewhere.model.train.dataset import Clips as ClipSet
        from elsewhere.model.train.networks.tokenizer import Tokenizer
        from elsewhere.model.train.networks.transformer import Transformer
        from elsewhere.model.weights import read_header

        found = opened(run, config)
        source = run / "tokenizer.safetensors"
        coder = weights.load(source, Tokenizer, TokenizerConfig)
        network = weights.load(run / "world.safetensors", Transformer, TransformerConfig)
        plan = chosen(found.finish_training, steps=steps, batch=batch, peak_rate=rate, seed=seed, device=device)
        training.train(ClipSet(clips), coder, network, plan, run)
        card = read_header(source)["card"] | {"finish steps": plan.steps, "finish seed": plan.seed}
        weights.save(run / "tokenizer-finished.safetensors", coder, coder.config, card)


@train.command("reader")
def reader(
    clips: Clips,
    held_out: Annotated[Path, typer.Argument(help="Folder of clips that it is tested on.")],
    run: Run = Path("run"),
    centres: Annotated[int, typer.Option(min=16, max=4000, help="Kinds of patches that it tells apart.")] = 500,
    frames: Annotated[int, typer.Option(min=1, help="Pictures of each clip.")] = 3,
    seed: Annotated[int, typer.Option(min=0)] = 7,
) -> None:
    """Train the reader of `elsewhere judge text`. Example: elsewhere train reader clips held-out --run run"""
    with a_run():
        from elsewhere.judge import reader_training as training

        run.mkdir(parents=True, exist_ok=True)
        plan = training.ReaderTraining(centres=centres, frames=frames, seed=seed)
        card = training.train(clips, held_out, plan, run / "reader.safetensors", typer.echo)
        typer.echo(f"wrote {run / 'reader.safetensors'}; words found in held-out clips: {card['held out accuracy']}")


@train.command("configs")
def configs(json_: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False) -> None:
    """List the named configurations. Example: elsewhere train configs --json"""
    with a_run():
        from elsewhere.model.train.configurations import CONFIGURATIONS
        from elsewhere.model.train.sizes import parameters

        rows: dict[str, dict[str, Any]] = {
            name: {
                "hardware": config.hardware,
                "tokenizer": parameters(config.tokenizer),
                "transformer": parameters(config.transformer),
                "width": config.transformer.width,
                "layers": config.transformer.layers,
                "steps": {
                    "tokenizer": config.tokenizer_training.steps,
                    "world": config.world_training.steps,
                    "finish": config.finish_training.steps,
                },
            }
            for name, config in CONFIGURATIONS.items()
        }
    if json_:
        print_json(rows)
        return
    for name, row in rows.items():
        millions = f"{row['tokenizer'] / 1e6:.1f}M + {row['transformer'] / 1e6:.1f}M"
        steps = " ".join(f"{stage} {count}" for stage, count in row["steps"].items())
        typer.echo(f"{name:14} {millions:14} {row['hardware']}; steps: {steps}")


@train.command("curves")
def curves(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A png or jpg.")] = Path("curves.png"),
) -> None:
    """Draw a run's measures. Example: elsewhere train curves run -o curves.png"""
    with a_run():
        from elsewhere.live.writer import check_output
        from elsewhere.model.train.curves import draw

        check_output(output, (".png", ".jpg"))
        draw(run).save(output)
    typer.echo(str(output))
