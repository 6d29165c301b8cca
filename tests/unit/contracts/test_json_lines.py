"""Files of JSON lines: what one full disk may cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainerd.contracts.json_lines import read_lines, read_lines_backwards

# Appends while the file may not grow beyond 100 bytes, which cuts the second line, then with room again.
FULL_DISK = """
import resource, sys
from pathlib import Path
from trainerd.contracts.json_lines import JsonLinesWriter

lines = JsonLinesWriter(Path(sys.argv[1]))
lines.append({"number": 1, "text": "x" * 40})
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
try:
    lines.append({"number": 2, "text": "x" * 40})
except OSError:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    lines.append({"number": 3})
"""


def test_a_line_that_the_disk_takes_only_in_part_is_never_glued_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"

    subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], check=True)

    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [1, 3]


@pytest.mark.parametrize("damage", [bytes(512) + b"\n", b'{"step": 2, "lo\n', b"17\n"])
def test_a_line_that_a_power_cut_has_damaged_costs_no_other(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + damage + b'{"step": 3}\n')

    lines, offset = read_lines(path)

    assert [line["step"] for line in lines] == [1, 3]
    assert offset == path.stat().st_size
    assert [line["step"] for line, _ in read_lines_backwards(path)] == [3, 1]
    assert "metrics.jsonl: the line at byte 12 is damaged" in caplog.text
