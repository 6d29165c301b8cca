"""HDF5: what can be read is read exactly, and what cannot be is refused by name, all at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainerd.contracts.errors import DataError, SpecificationRefused
from trainerd.contracts.spec import Hdf5Data, SampleField
from trainerd.data import Source, open_source
from trainerd.data.runs import consecutive_runs

ROWS = 23


def declare(path: Path, inputs: dict[str, Any] | None = None, targets: dict[str, Any] | None = None) -> Hdf5Data:
    x = SampleField(**{"key": "x", "shape": [2, 3], **(inputs or {})})
    y = SampleField(**{"key": "y", "shape": [], "dtype": "int64", **(targets or {})})
    return Hdf5Data(kind="hdf5", path=str(path), inputs=x, targets=y, batch_size=4)


def write(path: Path, x: np.ndarray | None = None, y: np.ndarray | None = None, **storage: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=waves(ROWS) if x is None else x, **storage)
        file.create_dataset("y", data=np.arange(ROWS) if y is None else y)
    return path


def waves(rows: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, 2, 3), np.float32)


def refusal_of(data: Hdf5Data) -> SpecificationRefused:
    with pytest.raises(SpecificationRefused) as refusal:
        open_source(data)
    return refusal.value


@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"chunks": (4, 2, 3)},
        {"chunks": (5, 1, 2), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (4, 2, 3), "compression": "lzf"},
        {"maxshape": (None, 2, 3)},
        {"dtype": ">f4"},
    ],
)
def test_every_storage_layout_gives_the_stored_values(tmp_path: Path, storage: dict[str, Any]) -> None:
    """Contiguous, chunked, compressed, growing, big-endian: in any order, repeated, first to last."""
    source = open_source(declare(write(tmp_path / "data.h5", **storage)))
    asked = np.array([22, 0, 5, 6, 7, 7, 1, 22])

    batch = source.gather(asked)

    assert len(source) == ROWS
    assert batch.samples == 8
    assert torch.equal(batch.inputs[0], torch.from_numpy(waves(ROWS)[asked]))
    assert batch.targets[0].tolist() == asked.tolist()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"])
@pytest.mark.parametrize("shape", [[], [3], [1, 2, 2, 2, 2]])
def test_every_dtype_and_rank_is_read_as_stored(tmp_path: Path, dtype: str, shape: list[int]) -> None:
    stored = (np.random.default_rng(1).random((ROWS, *shape)) * 100 > 50).astype(dtype)
    path = write(tmp_path / "data.h5", x=stored)

    source = open_source(declare(path, {"shape": shape, "dtype": dtype}))

    inputs = source.gather(np.arange(ROWS)).inputs[0]
    assert str(inputs.dtype) == f"torch.{dtype}"
    assert np.array_equal(inputs.numpy(), stored)


def test_a_key_may_be_a_path_through_groups_and_links(tmp_path: Path) -> None:
    path = write(tmp_path / "data.h5")
    with h5py.File(path, "a") as file:
        file["group/deep/x"] = waves(ROWS) + 1
        file["link"] = h5py.SoftLink("/group/deep")

    source = open_source(declare(path, {"key": "link/x"}))

    assert np.array_equal(source.gather(np.array([3])).inputs[0].numpy(), waves(ROWS)[[3]] + 1)


@settings(max_examples=50, deadline=None)
@given(rows=st.sets(st.integers(0, 60)))
def test_runs_cover_the_rows_and_nothing_else(rows: set[int]) -> None:
    """And no two runs could be read as one."""
    runs = list(consecutive_runs(np.array(sorted(rows), np.int64)))

    assert [row for start, stop in runs for row in range(start, stop)] == sorted(rows)
    assert all(stop < next_start for (_, stop), (next_start, _) in pairwise(runs))


CONTRADICTIONS: list[tuple[str, Callable[[h5py.File], object], str]] = [
    ("shape", lambda f: f.create_dataset("x", data=np.zeros((9, 3, 2), "f4")), "expected shape [2, 3], found [3, 2]"),
    ("shape", lambda f: f.create_dataset("x", data=np.float32(1)), "found a scalar"),
    ("shape", lambda f: f.create_dataset("x", data=h5py.Empty("f4")), "found an empty data set"),
    ("dtype", lambda f: f.create_dataset("x", data=np.zeros((9, 2, 3))), "expected float32, found float64"),
    ("dtype", lambda f: f.create_dataset("x", (9, 2, 3), h5py.vlen_dtype("f4")), "a variable-length type of float32"),
    (
        "dtype",
        lambda f: f.create_dataset("x", (9, 2, 3), [("a", "f4"), ("b", "i4")]),
        "compound type with the members a, b",
    ),
    ("dtype", lambda f: f.create_dataset("x", (9, 2, 3), h5py.string_dtype()), "strings cannot be a tensor"),
    ("dtype", lambda f: f.create_dataset("x", (9, 2, 3), h5py.ref_dtype), "references cannot be a tensor"),
    ("dtype", lambda f: f.create_dataset("x", (9, 2, 3), np.dtype(("f4", (4,)))), "an array type of float32"),
    ("key", lambda f: h5py.h5d.create(f.id, b"x", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((9, 2, 3))), "NumPy"),
    ("key", lambda f: f.create_dataset("x", (0, 2, 3), "f4"), "x holds no samples"),
    ("key", lambda f: f.create_dataset("X", (9, 2, 3), "f4"), "there is no such data set"),
    ("key", lambda f: f.create_group("x"), "this is a group"),
    ("key", lambda f: f.__setitem__("x", h5py.ExternalLink("other.h5", "/x")), "a link into another file"),
    ("key", lambda f: f.__setitem__("x", h5py.SoftLink("/x")), "its links form a circle"),
    ("key", lambda f: f.__setitem__("x", h5py.SoftLink("/nothing")), "there is no such data set"),
    ("key", lambda f: f.create_dataset("x", (9, 2, 3), "f4", external=[("x.bin", 0, 216)]), "external file"),
    ("key", lambda f: f.create_virtual_dataset("x", h5py.VirtualLayout((9, 2, 3), "f4")), "virtual data set"),
]


@pytest.mark.parametrize(("aspect", "make", "message"), CONTRADICTIONS)
def test_what_contradicts_the_declaration_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aspect: str, make: Callable[[h5py.File], object], message: str
) -> None:
    """The finding names the file, the key of the configuration, what was expected and what was found."""
    monkeypatch.chdir(tmp_path)  # where the external file would be created
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        make(file)
        file["y"] = np.zeros(9, np.int64)

    (finding,) = refusal_of(declare(path)).findings

    assert finding.file == str(path)
    assert finding.key == f"data.inputs.{aspect}"
    assert message in str(finding)


def test_a_soft_link_cannot_lead_into_another_file(tmp_path: Path) -> None:
    """The other file is not even opened: it is a pipe, and opening it would wait for ever."""
    path = write(tmp_path / "data.h5")
    os.mkfifo(tmp_path / "pipe.h5")
    with h5py.File(path, "a") as file:
        file["out"] = h5py.ExternalLink(str(tmp_path / "pipe.h5"), "/")
        file["hidden"] = h5py.SoftLink("/out/x")

    (finding,) = refusal_of(declare(path, {"key": "hidden"})).findings

    assert "a link into another file" in finding.message


def test_all_contradictions_are_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "data.h5", x=np.zeros((ROWS, 12, 16)))

    findings = refusal_of(declare(path, targets={"key": "labels"})).findings

    assert [finding.key for finding in findings] == ["data.inputs.dtype", "data.inputs.shape", "data.targets.key"]


def test_a_missing_key_suggests_the_nearest_one(tmp_path: Path) -> None:
    path = write(tmp_path / "data.h5")
    with h5py.File(path, "a") as file:
        file["group/noisy"] = waves(ROWS)

    findings = refusal_of(declare(path, {"key": "group/nosy"}, {"key": None})).findings

    assert findings[0].suggestion == "group/noisy"
    assert findings[1].message == "a key is missing"


def test_fields_of_different_length_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "data.h5", y=np.arange(ROWS - 1))

    (finding,) = refusal_of(declare(path)).findings

    assert finding.expected == "23 samples as in x"
    assert finding.found == "22 in y"


def unreadable_files(directory: Path) -> dict[str, Path]:
    whole = write(directory / "whole.h5", x=np.zeros((1000, 2, 3), "f4"), y=np.zeros(1000, np.int64)).read_bytes()
    contents = {
        "empty": b"",
        "text": b"not HDF5 at all" * 100,
        "truncated": whole[: len(whole) // 2],
        "zeroed": bytes(4096),
    }
    paths = {name: directory / f"{name}.h5" for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    os.mkfifo(directory / "pipe.h5")
    return {**paths, "absent": directory / "absent.h5", "directory": directory, "pipe": directory / "pipe.h5"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "the file is empty"),
        ("text", "not an HDF5 file"),
        ("zeroed", "not an HDF5 file"),
        ("truncated", "truncated file"),
        ("absent", "No such file or directory"),
        ("directory", "not a regular file"),
        ("pipe", "not a regular file"),
    ],
)
def test_a_file_that_cannot_be_opened_gives_one_clear_finding(tmp_path: Path, name: str, message: str) -> None:
    path = unreadable_files(tmp_path)[name]

    (finding,) = refusal_of(declare(path)).findings

    assert (finding.file, finding.key) == (str(path), "data.path")
    assert message in finding.message


def test_damage_anywhere_in_the_metadata_is_refused_or_read_but_never_crashes(tmp_path: Path) -> None:
    """Every 64 bytes of the file's first 4 KiB, overwritten one after the other."""
    whole = write(tmp_path / "whole.h5").read_bytes()
    path = tmp_path / "damaged.h5"
    outcomes = set()
    for offset in range(0, 4096, 64):
        path.write_bytes(whole[:offset] + b"\xff" * 64 + whole[offset + 64 :])
        outcomes.add(outcome_of_reading(path))

    assert outcomes >= {"refused", "read"}


def outcome_of_reading(path: Path) -> str:
    try:
        source: Source = open_source(declare(path))
        source.gather(np.arange(len(source)))
        return "read"
    except SpecificationRefused:
        return "refused"
    except DataError:
        return "bad data"


def test_a_damaged_chunk_is_named_by_its_row(tmp_path: Path) -> None:
    """A flipped bit under a checksum: the row that cannot be read is found, also inside a run of rows."""
    path = write(tmp_path / "data.h5", chunks=(1, 2, 3), fletcher32=True)
    with h5py.File(path) as file:
        place = file["x"].id.get_chunk_info(13).byte_offset
    with open(path, "r+b") as raw:
        raw.seek(place)
        raw.write(b"\xff")
    source = open_source(declare(path))

    with pytest.raises(DataError) as error:
        source.gather(np.arange(5, 20))

    assert (error.value.file, error.value.key, error.value.row) == (str(path), "x", 13)
    assert source.gather(np.arange(5, 13)).samples == 8


WRITER = """
import h5py, sys
with h5py.File(sys.argv[1], "r+"):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_file_that_somebody_writes_is_refused(tmp_path: Path) -> None:
    """While another process holds it open for writing; afterwards it is read."""
    path = write(tmp_path / "data.h5")
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        (finding,) = refusal_of(declare(path)).findings
        writer.communicate(timeout=30)

    assert finding.message == "another process has it open for writing"
    assert len(open_source(declare(path))) == ROWS


def test_the_fingerprint_is_of_the_content_not_of_the_time(tmp_path: Path) -> None:
    """A copy with another time is the same data; another value, another dtype or more rows are not."""
    path = write(tmp_path / "data.h5")
    fingerprint = open_source(declare(path)).fingerprint()
    os.utime(path, (0, 0))
    changed = waves(ROWS)
    changed[11, 0, 0] += 1
    others = [write(tmp_path / "other.h5", x=changed), write(tmp_path / "more.h5", x=waves(24), y=np.arange(24))]

    assert open_source(declare(path)).fingerprint() == fingerprint
    assert fingerprint not in [open_source(declare(other)).fingerprint() for other in others]
