"""The batches of an epoch, from any position on.

Many batches are gathered at once (a block) and cut into views, so that a step pays a few hundred nanoseconds of Python
for its batch. Blocks lie on a fixed grid: a batch is at the same place of its block, and so equally aligned in memory,
whatever position an epoch is entered at. Some matrix kernels round differently for another alignment, and a resumed run
has to repeat every bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from trainerd.data.order import SampleOrder
from trainerd.data.residence import Residence, settle
from trainerd.data.source import Batch, Source

# A block stays in the processor's cache between the gather and the step, and holds enough batches to share its cost.
_BLOCK_BYTES = 4 << 20
_BLOCK_BATCHES = 256

_INDEX_BYTES = 8
_HASHED_PLACES = 1 << 17  # sample indices that are looked up at once: 1 MiB


class BatchStream:
    """Batches of `samples` (indices into `source`) in the order of each epoch, on `device`.

    `order` orders positions in `samples`, so its count is their number. The last batch of an epoch may be short.
    """

    def __init__(
        self,
        source: Source,
        samples: NDArray[np.int64],
        order: SampleOrder,
        batch_size: int,
        device: torch.device,
    ) -> None:
        assert order.count == len(samples), f"an order of {order.count} positions for {len(samples)} samples"
        self.sample_count = len(samples)
        self.batches_per_epoch = -(-len(samples) // batch_size)
        self._source = source
        self._samples = samples
        self._order = order
        self._batch_size = batch_size
        self._device = device
        self._batches_per_block = min(max(1, _BLOCK_BYTES // (batch_size * source.sample_bytes)), _BLOCK_BATCHES)
        self._residence: Residence | None = None

    def batches(self, epoch: int, position: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from number `position` (from 0) on: the same ones whatever position one starts at.

        A batch is the caller's: nothing else reads its memory. Raises DataError where a sample cannot be read.
        """
        per_block = self._batches_per_block
        for first in range(position - position % per_block, self.batches_per_epoch, per_block):
            block = self._gather_block(epoch, first)
            yield from block[max(0, position - first) :]

    def index_hashes(self, epoch: int, first: int, end: int, group: int = 1) -> NDArray[np.uint64]:
        """The 64-bit xxh3 of the sample indices of every `group` batches from `first` to `end`-1 of `epoch`.

        Proof that a replay reads the same samples. Reads no data; many at once cost a few hundred nanoseconds each.
        """
        places = group * self._batch_size
        start, stop = self._places(first, end)
        at_once = max(1, _HASHED_PLACES // places) * places
        hashes: list[int] = []
        for begin in range(start, stop, at_once):
            order = self._order.indices(epoch, begin, min(begin + at_once, stop))
            indices = np.ascontiguousarray(self._samples[order], "<i8").data.cast("B")
            width = places * _INDEX_BYTES
            hashes += [xxhash.xxh3_64_intdigest(indices[at : at + width]) for at in range(0, len(indices), width)]
        return np.array(hashes, np.uint64)

    def _gather_block(self, epoch: int, first: int) -> list[Batch]:
        """The batches from `first` to the end of its block."""
        if self._residence is None:
            self._residence = settle(self._source, self._samples, self._device)
        start, stop = self._places(first, first + self._batches_per_block)
        inputs, targets = self._residence.take(self._order.indices(epoch, start, stop))
        # unsafe: autograd does not know that the pieces share storage. They do not overlap, so a model may change its
        # own in place, which it may not with the views of a safe split.
        pieces = zip(inputs.unsafe_split(self._batch_size), targets.unsafe_split(self._batch_size), strict=True)
        batches = [Batch((x,), (y,), self._batch_size) for x, y in pieces]
        short = (stop - start) % self._batch_size
        if short:
            batches[-1] = Batch(batches[-1].inputs, batches[-1].targets, short)
        return batches

    def _places(self, first: int, end: int) -> tuple[int, int]:
        """The places of the epoch that the batches `first` ... `end`-1 take up."""
        return first * self._batch_size, min(end * self._batch_size, self._order.count)
