"""Pictures and clips as people have them: odd, large, broken, turned, with sound; all are bounded and told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from elsewhere.live import reader
from elsewhere.live.fit import cut_away, fitted, size_for
from elsewhere.live.reader import read_clip, read_picture

RAMP = np.linspace(0, 255, 96 * 64 * 3).reshape(64, 96, 3).astype(np.uint8)


def film(
    path: Path,
    shades: list[int],
    *,
    times: list[int] | None = None,
    sound: bool = False,
    size: tuple[int, int] = (96, 64),
) -> Path:
    """An H.264 file of grey pictures; `times` in 1/24 s."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=24, options={"crf": "1"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.time_base = Fraction(1, 24)
        audio = container.add_stream("aac", rate=48000) if sound else None
        for index, shade in enumerate(shades):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), shade, np.uint8), format="rgb24")
            frame.pts = index if times is None else times[index]
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 48000, 0
            container.mux(audio.encode(tone))
            container.mux(audio.encode())
    return path


def saved(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


def test_pictures_of_all_kinds(tmp_path: Path) -> None:
    ramp = Image.fromarray(RAMP)
    plain = read_picture(saved(tmp_path / "plain.png", ramp), (96, 64))
    np.testing.assert_array_equal(plain.frames[0], RAMP)
    assert plain.notes == ()
    grey = read_picture(saved(tmp_path / "grey.png", ramp.convert("L")), (96, 64)).frames[0]
    assert np.ptp(grey, axis=-1).max() == 0
    cmyk = read_picture(saved(tmp_path / "cmyk.jpg", ramp.convert("CMYK"), quality=95), (96, 64)).frames[0]
    assert np.abs(cmyk.astype(int) - RAMP).mean() < 6
    deep = read_picture(saved(tmp_path / "deep.png", Image.fromarray(RAMP[..., 0].astype(np.uint16) * 257)), (96, 64))
    np.testing.assert_array_equal(deep.frames[0][..., 0], RAMP[..., 0])
    assert "more than 8 bits" in deep.notes[0]
    clear = Image.fromarray(np.dstack([RAMP, np.zeros((64, 96), np.uint8)]), "RGBA")
    white = read_picture(saved(tmp_path / "clear.png", clear), (96, 64))
    assert white.frames.min() == 255
    assert "set on white" in white.notes[0]
    other = Image.fromarray(255 - RAMP)
    gif = read_picture(saved(tmp_path / "two.gif", ramp, save_all=True, append_images=[other]), (96, 64))
    assert "first picture is taken" in gif.notes[0]
    assert np.abs(gif.frames[0].astype(int) - RAMP).mean() < 12
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    upright = read_picture(saved(tmp_path / "turned.jpg", ramp, exif=turned, quality=95), (64, 96)).frames[0]
    assert np.abs(upright.astype(int) - np.rot90(RAMP, -1)).mean() < 3
    tall = read_picture(saved(tmp_path / "odd.png", Image.fromarray(RAMP[:61, :33])))
    assert tall.frames.shape[1:3] == (112, 64)
    assert "33x61: taken as 64x112" in tall.notes[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "must have from 1 to"), (b"not a picture", "cannot be read as PNG"), (None, "cannot be read as PNG")],
)
def test_what_is_no_picture(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "bad.png"
    if content is None:  # cut off in the middle
        content = saved(path, Image.fromarray(RAMP)).read_bytes()[:400]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_picture(path, (96, 64))
    with pytest.raises(ValueError, match="does not exist"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(ValueError, match="is not a file"):
        read_picture(tmp_path)


def test_a_bomb_is_told_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PIXELS_MOST", 64 * 95)
    with pytest.raises(ValueError, match="million pixels; it has 96x64"):
        read_picture(saved(tmp_path / "large.png", Image.fromarray(RAMP)))
    with pytest.raises(ValueError, match="at most 8 times as long"):
        read_picture(saved(tmp_path / "strip.png", Image.new("RGB", (900, 4))))


def test_a_clip_with_sound_and_a_varying_rate(tmp_path: Path) -> None:
    steady = read_clip(film(tmp_path / "a.mp4", [10, 60, 110, 160], sound=True))
    assert steady.frames.shape == (4, 64, 96, 3)
    assert (steady.fps, steady.notes) == (24, ("the sound of a.mp4 is left out",))
    assert [int(f.mean()) for f in steady.frames] == pytest.approx([10, 60, 110, 160], abs=3)
    varying = read_clip(film(tmp_path / "b.mp4", [10, 60, 110, 160], times=[0, 1, 4, 10]), fps=24)
    shades = [round(float(f.mean()) / 50) for f in varying.frames]
    assert shades == [0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3]
    assert "frame rate of b.mp4 varies" in varying.notes[-1]
    half = read_clip(film(tmp_path / "c.mp4", [10 * n for n in range(12)]), fps=12)
    assert len(half.frames) == pytest.approx(6, abs=1)


def test_clips_that_are_too_short_too_long_or_none(tmp_path: Path) -> None:
    one = film(tmp_path / "one.mp4", [50])
    with pytest.raises(ValueError, match="at least 2 frames; it has 1"):
        read_clip(one)
    assert len(read_clip(one, least=1).frames) == 1
    ten_minutes = film(tmp_path / "long.mp4", [50] * 6, times=[24 * 120 * n for n in range(6)])
    with pytest.raises(ValueError, match="at most 60 s long; it has 600 s|at most 60 s long; it has 720 s"):
        read_clip(ten_minutes)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(one.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"cannot be read|has no pictures"):
        read_clip(cut)
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        tone.sample_rate, tone.pts = 48000, 0
        container.mux(stream.encode(tone))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="has no pictures in it that can be read"):
        read_clip(sound)


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\n{}\n", "ffconcat version 1.0\nfile '{}'\n", "v=0\no=- 0 0"])
def test_lists_of_other_files_are_not_followed(tmp_path: Path, text: str) -> None:
    other = film(tmp_path / "other.mp4", [1, 2, 3])
    path = tmp_path / "list.mp4"
    path.write_text(text.format(other))
    with pytest.raises(ValueError, match="is no mp4"):
        read_clip(path)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_every_size_has_one_that_fits(width: int, height: int) -> None:
    if max(width, height) > 8 * min(width, height):
        with pytest.raises(ValueError, match="8 times"):
            size_for(width, height)
        return
    made = size_for(width, height)
    assert all(64 <= side <= 512 and side % 16 == 0 for side in made)
    assert size_for(*made) == made
    assert 0.0 <= cut_away((width, height), *made) < 0.35


def test_a_picture_is_cropped_in_its_middle() -> None:
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[:, 32:96] = 200
    assert fitted(picture, 64, 64).min() == 200


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif", "bmp", "tiff", "mp4"])
def test_damaged_files_are_told_and_nothing_else(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"damaged.{kind}"
    whole = film(path, [10, 90, 170]) if kind == "mp4" else saved(path, Image.fromarray(RAMP))
    content, rng = whole.read_bytes(), np.random.default_rng(5)
    told = 0
    for _ in range(25):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(0, min(len(damaged), 400), rng.integers(1, 12))
        damaged[places] = rng.integers(0, 256, len(places))
        path.write_bytes(damaged.tobytes())
        try:
            read_clip(path, (64, 64)) if kind == "mp4" else read_picture(path, (64, 64))
        except ValueError:
            told += 1
    assert told > 0
