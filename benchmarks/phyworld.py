"""Does a network that is shown three frames of a motion continue it? The question of PhyWorld (arXiv 2411.02385).

Balls roll, strike each other, and fall; inside the training set's speeds and combinations, with combinations that were
held out, and faster than anything in it. The network dreams (no guide) five more frames, and a tracker of colours
says where the balls are. The error is the mean distance between the balls' steps and the true ones, in pixels a frame
of 128² pictures, and as a share of the true mean speed. Beside the network: the tracker on the true pictures (its own
error), on true pictures through the tokenizer (what the decoder can show), the last known frame standing still, and
the last known step repeated. A ball that is lost is taken to have stopped, and counted.

    python benchmarks/phyworld.py WEIGHTS --trials 6 --json
    python benchmarks/phyworld.py src/elsewhere/model/weights --picture phyworld.png

WEIGHTS is a folder with tokenizer.safetensors and world.safetensors. It needs torch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.model.train.trials import MOTIONS, REGIMES, Trial, draw_trial

KNOWN = 3
CONTENDERS = ("tracker", "tokenizer", "dream", "same step", "still")


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a contender made of one ball of one film: pixels a frame that its steps are wrong, in the mean; the true
    mean step; and whether the ball was lost."""

    motion: str
    regime: str
    contender: str
    error: float
    speed: float
    lost: bool


def picture_of(arrays: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """(T, H, W, 3) display RGB in [0, 1]."""
    return np.moveaxis(arrays["picture"], 1, -1).astype(np.float64) / 255.0


def judge(trial: Trial, dreamer: Any, seed: int) -> Iterator[tuple[Result, NDArray[np.float64]]]:
    """Results of all contenders for each ball that can be tracked, with the pictures that were looked at."""
    from elsewhere.model.train.tracking import follow, learn

    true = picture_of(trial.arrays)
    coded = np.moveaxis(dreamer.decode(dreamer.encode(trial.arrays["picture"], trial.arrays["depth"])), 1, -1)
    made = np.moveaxis(dreamer.go_on(trial.scene, trial.arrays, KNOWN, seed), 1, -1)
    shown = {"tracker": true, "tokenizer": coded[..., :3], "dream": made[..., :3]}
    for ball in range(trial.track.shape[1]):
        track = trial.track[:, ball]
        masks = trial.arrays["instance"] == ball
        others = (trial.arrays["instance"] >= 0) & (trial.arrays["instance"] < trial.track.shape[1]) & ~masks
        wanted = np.diff(track[KNOWN - 1 :], axis=0)
        radius = float(np.sqrt(max(1, masks[KNOWN - 1].sum()) / np.pi))
        last = track[KNOWN - 1] - track[KNOWN - 2]
        for contender in CONTENDERS:
            if contender in shown:
                pictures = shown[contender].astype(np.float64)
                look = learn(pictures[:KNOWN], masks[:KNOWN], track[:KNOWN], others[:KNOWN])
                found = (
                    np.full((len(wanted), 2), np.nan)
                    if look is None
                    else follow(look, pictures[KNOWN:], track[KNOWN - 1], last, radius)
                )
                lost = bool(np.isnan(found).any())
                steps = np.diff(np.concatenate([track[KNOWN - 1 : KNOWN], found]), axis=0)
                steps = np.nan_to_num(steps)
            else:
                pictures, lost = true, False
                steps = np.tile(last if contender == "same step" else np.zeros(2), (len(wanted), 1))
            yield (
                Result(
                    motion=trial.motion,
                    regime=trial.regime,
                    contender=contender,
                    error=float(np.linalg.norm(steps - wanted, axis=1).mean()),
                    speed=float(np.linalg.norm(wanted, axis=1).mean()),
                    lost=lost,
                ),
                pictures,
            )


def table(results: list[Result]) -> list[dict[str, Any]]:
    """Rows of means over the balls that move, by motion, regime and contender."""
    rows = []
    for motion in MOTIONS:
        for regime in REGIMES:
            for contender in CONTENDERS:
                chosen = [r for r in results if (r.motion, r.regime, r.contender) == (motion, regime, contender)]
                if not chosen:
                    continue
                error, speed = (float(np.mean([getattr(r, name) for r in chosen])) for name in ("error", "speed"))
                rows.append(
                    {
                        "motion": motion,
                        "regime": regime,
                        "contender": contender,
                        "balls": len(chosen),
                        "speed_px": round(speed, 3),
                        "error_px": round(error, 3),
                        "error_share": round(error / max(speed, 1e-9), 3),
                        "lost": round(float(np.mean([r.lost for r in chosen])), 3),
                    }
                )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--trials", type=int, default=6, help="films of each motion and regime")
    parser.add_argument("--steps", type=int, default=4, choices=(1, 2, 4, 8), help="evaluations for a frame")
    parser.add_argument("--seed", type=int, default=0, help="of the network's noise")
    parser.add_argument("--no-recall", action="store_true", help="do not show dreamt pictures to the frames after them")
    parser.add_argument("--picture", type=Path, help="true films above continued ones, as a .png")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.trials < 1:
        parser.error(f"--trials must be at least 1; got {options.trials}")
    if options.picture and options.picture.suffix != ".png":
        parser.error(f"--picture must end with .png; got {options.picture.name}")
    try:
        from elsewhere.model.configuration import TokenizerConfig, TransformerConfig
        from elsewhere.model.train import weights
        from elsewhere.model.train.continuation import Dreamer
        from elsewhere.model.train.networks.tokenizer import Tokenizer
        from elsewhere.model.train.networks.transformer import Transformer

        tokenizer = weights.load(options.weights / "tokenizer.safetensors", Tokenizer, TokenizerConfig)
        transformer = weights.load(options.weights / "world.safetensors", Transformer, TransformerConfig)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    dreamer = Dreamer(tokenizer, transformer, steps=options.steps, recall=not options.no_recall)
    results: list[Result] = []
    strips = []
    total = len(MOTIONS) * len(REGIMES) * options.trials
    for index in range(total):
        motion, regime = (
            MOTIONS[index // options.trials // len(REGIMES)],
            REGIMES[index // options.trials % len(REGIMES)],
        )
        trial = draw_trial(motion, regime, index % options.trials)
        for result, pictures in judge(trial, dreamer, options.seed):
            results.append(result)
            if result.contender == "dream" and index % options.trials == 0 and len(strips) == index // options.trials:
                strips.append(
                    np.concatenate([np.concatenate(list(x), axis=1) for x in (picture_of(trial.arrays), pictures)])
                )
        print(f"{index + 1} of {total} films", end="\r", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if options.picture:
        from PIL import Image

        Image.fromarray(np.rint(255.0 * np.clip(np.concatenate(strips), 0.0, 1.0)).astype(np.uint8)).save(
            options.picture
        )
    rows = table(results)
    if options.json:
        json.dump(
            {"known": KNOWN, "steps": options.steps, "recall": not options.no_recall, "rows": rows},
            sys.stdout,
            indent=2,
        )
        print()
        return 0
    for row in rows:
        print(
            f"{row['motion']:10} {row['regime']:8} {row['contender']:10} {row['balls']:3d} balls  "
            f"{row['speed_px']:6.2f} px/frame  error {row['error_px']:6.2f} px  {row['error_share']:6.1%}  "
            f"lost {row['lost']:.0%}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
