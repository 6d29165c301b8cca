"""The data of a run: sources, the split, the order of an epoch, the batches, and the checks at admission.

It reads and never writes. Importing it starts no thread and opens nothing; a source is opened after the last fork, by
the process that reads it. h5py and pyarrow are imported by the kind of source that needs them.
"""

from trainerd.data.batches import BatchStream
from trainerd.data.check import check_values
from trainerd.data.opening import open_source
from trainerd.data.order import SampleOrder
from trainerd.data.source import Batch, FieldSchema, Source
from trainerd.data.split import split_samples

__all__ = [
    "Batch",
    "BatchStream",
    "FieldSchema",
    "SampleOrder",
    "Source",
    "check_values",
    "open_source",
    "split_samples",
]
