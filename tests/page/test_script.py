"""The page's own unit tests, so that who runs pytest runs them too."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


@pytest.mark.skipif(not WEB.is_dir(), reason="the page's source is not in this copy")
def test_poses_cuts_key_frames_and_hands(node_modules: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    assert node is not None, "node_modules were installed, so there must be a node"
    copy = tmp_path / "web"
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("node_modules"))
    (copy / "node_modules").symlink_to(node_modules)
    vitest = [node, str(node_modules / "vitest" / "vitest.mjs"), "run"]
    done = subprocess.run(vitest, cwd=copy, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
