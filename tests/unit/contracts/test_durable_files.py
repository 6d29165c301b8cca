"""Small files that are replaced whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainerd.contracts.durable_files import replace_durably


def test_the_new_text_takes_the_old_ones_place_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    for text in ("old", "new"):
        replace_durably(path, text)

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_replaced_stays_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.mkdir()

    with pytest.raises(OSError, match="directory"):
        replace_durably(path, "new")

    assert list(tmp_path.iterdir()) == [path]
