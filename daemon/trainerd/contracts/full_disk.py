"""Which errors mean that a disk is full, or that its owner's share of it is."""

from __future__ import annotations

import errno


def is_for_want_of_space(error: OSError) -> bool:
    """Whether room on the disk, or a larger quota, would have helped."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
