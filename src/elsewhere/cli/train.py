"""`elsewhere data` and `elsewhere train`: make training clips, and networks from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from elsewhere.cli.report import USER_MISTAKE, complain, interruptible, print_json, user_errors

data = typer.Typer(help="Make training data.", no_args_is_help=True)
train = typer.Typer(help="Train the networks. A run that was cut off goes on where it was.", no_args_is_help=True)

Clips = Annotated[Path, typer.Argument(help="Folder of clips, as `elsewhere data build` makes it.")]
Run = Annotated[Path, typer.Option("--run", help="Folder for checkpoints, curves and weights.")]


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


@train.command("tokenizer")
def tokenizer(
    clips: Clips,
    run: Run = Path("run"),
    steps: Annotated[int, typer.Option(min=1)] = 5000,
    batch: Annotated[int, typer.Option(min=1)] = 24,
) -> None:
    """Train the tokenizer. Example: elsewhere train tokenizer clips --run run --steps 3000"""
    with a_run():
        from elsewhere.model.configuration import TokenizerConfig
        from elsewhere.model.train import tokenizer as training
        from elsewhere.model.train import weights
        from elsewhere.model.train.dataset import Clips as ClipSet

        run.mkdir(parents=True, exist_ok=True)
        plan, config = training.TokenizerTraining(steps=steps, batch=batch), TokenizerConfig()
        clip_set = ClipSet(clips)
        network = training.train(clip_set, config, plan, run)
        card = {"kind": "tokenizer", "clips": len(clip_set), "steps": steps, "batch": batch, "seed": plan.seed}
        weights.save(run / "tokenizer.safetensors", network, config, card)


@train.command("world")
def world(
    clips: Clips,
    run: Run = Path("run"),
    steps: Annotated[int, typer.Option(min=1)] = 2400,
    batch: Annotated[int, typer.Option(min=1)] = 4,
) -> None:
    """Train the transformer on a trained tokenizer's latents. Example: elsewhere train world clips --run run"""
    with a_run():
        from elsewhere.model.configuration import TokenizerConfig, TransformerConfig
        from elsewhere.model.train import weights
        from elsewhere.model.train import world as training
        from elsewhere.model.train.dataset import Clips as ClipSet
        from elsewhere.model.train.networks.tokenizer import Tokenizer
        from elsewhere.scene.words import vocabulary

        coder = weights.load(run / "tokenizer.safetensors", Tokenizer, TokenizerConfig)
        plan, config = training.WorldTraining(steps=steps, batch=batch), TransformerConfig(vocabulary=vocabulary())
        clip_set = ClipSet(clips)
        network = training.train(clip_set, coder, config, plan, run)
        card = {"kind": "world", "clips": len(clip_set), "steps": steps, "batch": batch, "seed": plan.seed}
        weights.save(run / "world.safetensors", network, config, card)


@train.command("finish")
def finish(
    clips: Clips,
    run: Run = Path("run"),
    steps: Annotated[int, typer.Option(min=1)] = 700,
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

        source = run / "tokenizer.safetensors"
        coder = weights.load(source, Tokenizer, TokenizerConfig)
        network = weights.load(run / "world.safetensors", Transformer, TransformerConfig)
        plan = training.FinishTraining(steps=steps)
        training.train(ClipSet(clips), coder, network, plan, run)
        card = read_header(source)["card"] | {"finish steps": steps, "finish seed": plan.seed}
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
