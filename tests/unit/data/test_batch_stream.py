"""The batches of an epoch: every sample once, the same from any position, in memory or from the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainerd.contracts.errors import DataError
from trainerd.contracts.spec import Hdf5Data, SampleField
from trainerd.data import Batch, BatchStream, SampleOrder, Source, batches, open_source, residence
from trainerd.data.batches import _BLOCK_BYTES

CPU = torch.device("cpu")
MakeSource = Callable[..., Source]


@pytest.fixture(scope="module")
def make_source(tmp_path_factory: pytest.TempPathFactory) -> MakeSource:
    """A file whose inputs are (index, index) and whose targets are the index: a batch tells which samples it holds."""

    def make(count: int, width: int = 2) -> Source:
        path: Path = tmp_path_factory.mktemp("data") / "data.h5"
        with h5py.File(path, "w") as file:
            file["x"] = np.repeat(np.arange(count, dtype=np.float32)[:, None], width, axis=1)
            file["y"] = np.arange(count)
        inputs, targets = SampleField(key="x", shape=[width]), SampleField(key="y", shape=[], dtype="int64")
        return open_source(Hdf5Data(kind="hdf5", path=str(path), inputs=inputs, targets=targets, batch_size=1))

    return make


@pytest.fixture(scope="module")
def source(make_source: MakeSource) -> Source:
    return make_source(1000)


def stream_of(source: Source, samples: np.ndarray, batch_size: int, *, shuffle: bool = True) -> BatchStream:
    return BatchStream(source, samples, SampleOrder(7, len(samples), shuffle), batch_size, CPU)


def contents(batches: list[Batch]) -> list[list[int]]:
    for batch in batches:
        assert torch.equal(batch.inputs[0][:, 0], batch.targets[0].to(torch.float32))
        assert batch.samples == len(batch.inputs[0]) == len(batch.targets[0])
    return [batch.targets[0].tolist() for batch in batches]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 400), batch_size=st.integers(1, 70), shuffle=st.booleans(), data=st.data())
def test_an_epoch_is_the_split_and_may_be_entered_anywhere(
    source: Source, count: int, batch_size: int, shuffle: bool, data: st.DataObject
) -> None:
    """Every sample of the split once, nothing else; from position p on, the batches are those from p on."""
    samples = np.sort(np.random.default_rng(count).permutation(1000)[:count])
    whole = contents(list(stream_of(source, samples, batch_size, shuffle=shuffle).batches(epoch=3)))
    position = data.draw(st.integers(0, len(whole)))

    entered = contents(list(stream_of(source, samples, batch_size, shuffle=shuffle).batches(3, position)))

    assert sorted(index for batch in whole for index in batch) == samples.tolist()
    assert entered == whole[position:]
    assert all(len(batch) == batch_size for batch in whole[:-1])


@pytest.mark.parametrize("shuffle", [True, False])
def test_samples_read_from_the_file_are_those_held_in_memory(
    source: Source, monkeypatch: pytest.MonkeyPatch, shuffle: bool
) -> None:
    """Whether the data set fits in memory changes no batch."""
    samples = np.arange(100, 600)
    held = contents(list(stream_of(source, samples, 32, shuffle=shuffle).batches(1)))

    monkeypatch.setattr(residence, "HELD_BYTES_LIMIT", 0)
    read = contents(list(stream_of(source, samples, 32, shuffle=shuffle).batches(1)))

    assert read == held


def test_a_data_set_larger_than_a_block_comes_in_several_blocks(make_source: MakeSource) -> None:
    """Entered in the middle of the second block, the batches are also at the same alignment in memory."""
    source = make_source(300, width=10_000)
    per_block = _BLOCK_BYTES // (16 * source.sample_bytes)
    assert 1 < per_block < 300 // 16

    whole = list(stream_of(source, np.arange(300), 16).batches(1))
    entered = list(stream_of(source, np.arange(300), 16).batches(1, per_block + 1))

    assert contents(entered) == contents(whole)[per_block + 1 :]
    places = [[batch.inputs[0].data_ptr() % 64 for batch in batches] for batches in (entered, whole[per_block + 1 :])]
    assert places[0] == places[1]
    assert [b.inputs[0].storage_offset() for b in entered] == [
        b.inputs[0].storage_offset() for b in whole[per_block + 1 :]
    ]


def test_a_model_may_overwrite_its_inputs(source: Source) -> None:
    """A batch is a copy, and is not tied to its neighbours by autograd: the next epoch sees the data unchanged."""
    stream = stream_of(source, np.arange(64), 16, shuffle=False)
    weight = torch.ones(1, requires_grad=True)
    for batch in stream.batches(1):
        batch.inputs[0].mul_(weight)
        batch.inputs[0].sum().backward()

    assert contents(list(stream.batches(2))) == np.arange(64).reshape(4, 16).tolist()


def test_the_index_hash_names_the_samples_of_a_batch(source: Source) -> None:
    """Equal for a replay, different for other samples or another order of them."""
    samples = np.arange(100)
    stream, again = stream_of(source, samples, 8), stream_of(source, samples, 8)
    hashes = [*stream.index_hashes(1, 0, 13), *stream.index_hashes(2, 0, 13)]

    assert [
        again.index_hashes(epoch, position, position + 1)[0] for epoch in (1, 2) for position in range(13)
    ] == hashes
    assert len(set(hashes)) == 26


def test_the_index_hash_of_a_group_is_of_all_its_batches(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each update, the last group of an epoch being smaller; however many are made at once."""
    stream = stream_of(source, np.arange(100), 8)
    as_one = stream_of(source, np.arange(100), 24)
    monkeypatch.setattr(batches, "_HASHED_PLACES", 50)

    assert stream.index_hashes(1, 0, 13, group=3).tolist() == as_one.index_hashes(1, 0, 5).tolist()
    assert stream.index_hashes(1, 3, 9, group=3).tolist() == as_one.index_hashes(1, 1, 3).tolist()
    assert len(stream.index_hashes(1, 13, 13)) == 0


def test_nothing_is_read_before_the_first_batch(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inspector that makes a stream to learn its length pays for no data."""
    reads: list[int] = []
    gather = type(source).gather

    def watched_gather(self: Source, indices: np.ndarray) -> Batch:
        reads.append(len(indices))
        return gather(self, indices)

    monkeypatch.setattr(type(source), "gather", watched_gather)
    stream = stream_of(source, np.arange(1000), 64)
    batches = stream.batches(1, 5)

    assert stream.batches_per_epoch == 16
    assert stream.index_hashes(1, 15, 16)[0] > 0
    assert reads == []
    next(batches)
    assert reads == [1000]


def test_a_bad_sample_ends_the_epoch_with_file_key_and_row(tmp_path: Path) -> None:
    """A value that admission did not see is found when it is read."""
    path = tmp_path / "data.h5"
    values = np.zeros((50, 2), np.float32)
    values[31, 1] = np.nan
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = values, values
    x, y = SampleField(key="x", shape=[2]), SampleField(key="y", shape=[2])
    source = open_source(Hdf5Data(kind="hdf5", path=str(path), inputs=x, targets=y, batch_size=4))

    with pytest.raises(DataError) as error:
        list(stream_of(source, np.arange(50), 4).batches(1))

    assert (error.value.file, error.value.key, error.value.row) == (str(path), "x", 31)
    assert str(error.value) == f"{path}, key x, row 31: expected finite values, found nan"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("limit", [residence.HELD_BYTES_LIMIT, 0])
@pytest.mark.parametrize("share", [8, 1 << 60])
def test_batches_on_a_gpu_are_those_on_the_cpu(
    source: Source, monkeypatch: pytest.MonkeyPatch, limit: int, share: int
) -> None:
    """Held on the device, held in the process, or read from the file: the same batches."""
    monkeypatch.setattr(residence, "HELD_BYTES_LIMIT", limit)
    monkeypatch.setattr(residence, "_DEVICE_SHARE", share)
    samples = np.arange(1000)
    stream = BatchStream(source, samples, SampleOrder(7, 1000, shuffle=True), 32, torch.device("cuda"))

    batches = list(stream.batches(1))

    assert all(batch.inputs[0].is_cuda and batch.targets[0].is_cuda for batch in batches)
    assert contents(batches) == contents(list(stream_of(source, samples, 32).batches(1)))
