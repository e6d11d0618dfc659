"""The committed page is what its source builds to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import elsewhere

PAGE = Path(elsewhere.__file__).parent / "page"
WEB = Path(__file__).parents[2] / "web"


def test_the_page_is_whole() -> None:
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    for name in ("page.js", "page.css", "icon.svg"):
        assert name in index
        assert (PAGE / name).stat().st_size > 100
    assert sum(path.stat().st_size for path in PAGE.rglob("*")) < 100_000


def test_the_page_asks_nobody_else() -> None:
    for path in (PAGE / "index.html", PAGE / "page.js", PAGE / "page.css"):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert "http://" not in text
        assert "https://" not in text


@pytest.mark.skipif(not WEB.is_dir(), reason="the page's source is not in this copy")
def test_the_committed_page_is_the_built_page(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed; building the page needs Node 20 or newer")
    copy = tmp_path / "web"
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("node_modules"))
    if (WEB / "node_modules" / ".package-lock.json").is_file():
        (copy / "node_modules").symlink_to(WEB / "node_modules")
    else:
        install = [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(install, cwd=copy, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            pytest.skip(f"the page's build tools could not be installed: {done.stderr.strip()[-300:]}")
    built = tmp_path / "page"
    environment = {**os.environ, "PAGE_OUT": str(built)}
    done = subprocess.run([npm, "run", "build"], cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    names = {path.relative_to(built) for path in built.rglob("*") if path.is_file()}
    assert names == {path.relative_to(PAGE) for path in PAGE.rglob("*") if path.is_file()}
    for name in names:
        assert (built / name).read_bytes() == (PAGE / name).read_bytes(), f"{name} is stale; build it with: make page"
