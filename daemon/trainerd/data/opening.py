"""Opens the source that a configuration declares."""

from __future__ import annotations

from trainerd.contracts.spec import AnyData, Hdf5Data, ParquetData, SyntheticData
from trainerd.data.source import Source


def open_source(data: AnyData) -> Source:
    """The source of `data`, its metadata checked against the declaration; values are checked by `check_values` and when
    they are read. A relative path is taken from the current directory.

    Raises SpecificationRefused with everything that contradicts the declaration.
    """
    # Imported here: who trains on HDF5 does not wait for pyarrow, which also starts a thread (jemalloc) on import.
    match data:
        case SyntheticData():
            from trainerd.data.synthetic import SyntheticSource

            return SyntheticSource(data)
        case Hdf5Data():
            from trainerd.data.hdf5 import open_hdf5

            return open_hdf5(data)
        case ParquetData():
            from trainerd.data.parquet import open_parquet

            return open_parquet(data)
