"""The ways in which a file of a checkpoint goes bad on the disk, and the sweep that tries them all on a copy."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainerd.training.checkpoints.commit import MANIFEST
from trainerd.training.checkpoints.verify import list_checkpoints, newest_verified

BLOCK_BYTES = 4096
_TRUNCATIONS = 24
Content = bytes | None  # None where the file is gone


@dataclass(frozen=True)
class Damage:
    """What one file of a checkpoint becomes."""

    file: str
    what: str
    change: Callable[[bytes], Content]

    def do(self, checkpoint: Path) -> None:
        path = checkpoint / self.file
        content = self.change(path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)


def all_damages(checkpoint: Path, chooser: random.Random) -> Iterator[Damage]:
    """A bit of every block of every file and of every byte of the manifest, many lengths, and files that are gone."""
    for path in sorted(checkpoint.iterdir()):
        size = path.stat().st_size
        bits = one_bit_a_block(size, 1 if path.name == MANIFEST else BLOCK_BYTES, chooser)
        yield from (Damage(path.name, f"bit {bit} flipped", flip(bit)) for bit in bits)
        lengths = {0, 1, size // 2, size - 1, *(chooser.randrange(size) for _ in range(_TRUNCATIONS))}
        yield from (Damage(path.name, f"cut to {length} bytes", cut(length)) for length in sorted(lengths))
        yield Damage(path.name, "gone", gone)


def one_bit_a_block(size: int, block_bytes: int, chooser: random.Random) -> list[int]:
    return [8 * start + chooser.randrange(8 * min(block_bytes, size - start)) for start in range(0, size, block_bytes)]


def flip(bit: int) -> Callable[[bytes], Content]:
    def flipped(content: bytes) -> Content:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    return flipped


def cut(length: int) -> Callable[[bytes], Content]:
    return lambda content: content[:length]


def gone(_content: bytes) -> Content:
    return None


def sweep(checkpoints: Path, damages: list[Damage]) -> list[Damage]:
    """Try each on the newest checkpoint; those that were not seen, named and put aside, or not fallen back from."""
    newest, older = list_checkpoints(checkpoints)[:2]
    return [damage for damage in damages if not _is_seen(damage, newest, older)]


def _is_seen(damage: Damage, newest: Path, older: Path) -> bool:
    """The checkpoint is whole again afterwards."""
    named: list[str] = []
    whole = (newest / damage.file).read_bytes()
    damage.do(newest)
    found = newest_verified(newest.parent, lambda name, _why: named.append(name))
    aside = newest.with_name(f"damaged-{newest.name}")
    is_seen = found is not None and found.path == older and named == [newest.name] and aside.is_dir()
    if aside.is_dir():
        os.rename(aside, newest)
    (newest / damage.file).write_bytes(whole)
    return is_seen
