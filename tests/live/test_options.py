"""What may be asked for, and what is said when it may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.live.film import frame_count
from elsewhere.live.options import SEED_MOST, Options, check_seconds, read_size


@pytest.mark.parametrize(
    ("text", "size"),
    [(128, (128, 128)), ("64", (64, 64)), ("192x128", (192, 128)), ("512×64", (512, 64)), ((80, 96), (80, 96))],
)
def test_sizes_that_can_be(text: str | int | tuple[int, int], size: tuple[int, int]) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (130, "nearest is 128"),
        (48, "nearest is 64"),
        (100_000, "nearest is 512"),
        ("0", "nearest is 64"),
        ("-128", "like 128 or 192x128"),
        ("128x128x3", "like 128 or 192x128"),
        ("big", "like 128 or 192x128"),
        ("128x100", "height must be a multiple of 16"),
        ("", "like 128 or 192x128"),
        ("²", "like 128 or 192x128"),
    ],
)
def test_sizes_that_cannot_be_say_what_can(text: str | int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_size(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": -1}, "nearest is 0"),
        ({"seed": SEED_MOST + 1}, f"nearest is {SEED_MOST}"),
        ({"seed": 1.5}, "whole number"),
        ({"seed": True}, "whole number"),
        ({"fps": 0}, "nearest is 1"),
        ({"fps": 1000}, "nearest is 120"),
        ({"steps": 3}, "1, 2, 4, 8"),
        ({"mode": "dreamy"}, "grounded, dream, calculated"),
        ({"width": 100}, "width must be a multiple of 16"),
        ({"strength": 1.5}, "strength must be from 0 to 1; got 1.5. The nearest is 1"),
        ({"strength": -0.1}, "nearest is 0"),
        ({"strength": float("nan")}, "strength must be from 0 to 1"),
        ({"strength": "half"}, "strength must be a number"),
        ({"ground": "depths"}, "ground must be one of full, depth, layout; got 'depths'"),
        ({"guidance": 0.5}, "guidance must be from 1 to 4; got 0.5. The nearest is 1"),
        ({"guidance": 9.0}, "nearest is 4"),
        ({"mode": "dream", "strength": 0.5}, "mode must be grounded where strength or ground is given"),
        ({"mode": "dream", "ground": "depth"}, "mode must be grounded where strength or ground is given"),
        ({"mode": "calculated", "guidance": 2.0}, "mode must be grounded or dream where guidance is given"),
    ],
)
def test_options_that_cannot_be_say_what_can(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Options(**change)  # type: ignore[arg-type]


def test_the_loop_and_the_model_agree_on_what_there_is() -> None:
    from elsewhere.live import options
    from elsewhere.model import generator, planes

    assert planes.GROUNDS == options.GROUNDS
    assert (generator.GUIDANCE_LEAST, generator.GUIDANCE_MOST) == (options.GUIDANCE_LEAST, options.GUIDANCE_MOST)
    assert generator.STEPS == options.STEPS


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_seconds_that_cannot_be(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be more than 0"):
        check_seconds(seconds)


@given(st.integers(1, 120), st.integers(0, 100_000))
def test_ticks_follow_the_clock_without_drift(fps: int, index: int) -> None:
    options = Options(fps=fps)
    assert abs(options.tick_of(index) - 240 * index / fps) <= 0.5
    assert options.tick_of(index + 1) > options.tick_of(index)


def test_a_film_has_a_frame_at_least() -> None:
    assert frame_count(4.0, 24) == 96
    assert frame_count(0.001, 24) == 1
