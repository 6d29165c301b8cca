"""A name for the content of a data file, cheap enough for files of any size: it reads 4 MiB at most."""

from __future__ import annotations

import os

import xxhash

_BLOCKS = 64
_BLOCK_BYTES = 64 << 10


def fingerprint_file(path: str, metadata: str) -> str:
    """A hash of the size of `path`, of `metadata` and of 64 evenly spaced blocks (all of a file up to 4 MiB).

    Never of a time: a copied or touched file is the same data. Raises OSError where it cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        digest = xxhash.xxh3_128(f"{size}\n{metadata}\n".encode())
        for block in range(_BLOCKS):
            offset = max(0, size - _BLOCK_BYTES) * block // (_BLOCKS - 1)
            digest.update(os.pread(file.fileno(), _BLOCK_BYTES, offset))
    return f"xxh3:{digest.hexdigest()}"
