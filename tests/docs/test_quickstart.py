"""docs/quickstart.md, followed by the letter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from documents import PROJECT, blocks_of


def test_a_new_user_can_follow_the_quickstart_from_top_to_bottom(tmp_path: Path) -> None:
    """Every `sh` block of the page, in one shell that stops at the first failure, with a home of its own."""
    commands = "".join(block.text for block in blocks_of("sh", [PROJECT / "docs/quickstart.md"]))
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TRAINERD_HOME": str(tmp_path / "home")}
    environment.pop("TRAINERD_SOCKET", None)

    try:
        with open(tmp_path / "output", "w") as output:
            done = subprocess.run(
                ["bash", "-exc", commands], cwd=PROJECT, env=environment, stdout=output, stderr=output, check=False
            )
    finally:
        subprocess.run([programs / "trainerd", "down"], env=environment, capture_output=True, check=False)

    assert done.returncode == 0, (tmp_path / "output").read_text()
