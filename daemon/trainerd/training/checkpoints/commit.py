"""How a directory of files becomes a checkpoint: all of it, durably, or nothing.

Write into a temporary directory, fsync every file, write the manifest, fsync it, rename, fsync the parent. With a power
cut right after the save, leaving out the fsyncs lost or tore every trial, leaving out the parent's lost half of them.
A file whose fsync failed is thrown away and never fsynced again: the kernel may have dropped its pages (fsync(2)).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import xxhash

from trainerd.contracts import journal
from trainerd.contracts.durable_files import replace_durably, sync_directory

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
TEMPORARY_PREFIX = "tmp-"
REMOVING_PREFIX = "removing-"
_BLOCK_BYTES = 1 << 25  # each costs the training thread two changes of the GIL: with 1 MiB it was felt
_SYNCED_AT_A_TIME_BYTES = 1 << 28
ShowProgress = Callable[[], None]


def tell_nobody() -> None:
    """For who waits for a file without a witness."""


@dataclass(frozen=True)
class FileEntry:
    """What the manifest promises of one file."""

    bytes: int
    xxh3: str  # 128 bits, hexadecimal


@dataclass(frozen=True)
class Manifest:
    """The last file of a checkpoint to be written, and the only proof that the others are whole."""

    run: str  # name of the run's directory
    attempt: int
    step: int
    epoch: int  # epochs finished
    periodic: bool
    pinned: bool
    committed_at: str = ""  # ISO 8601; the commit fills in this and the files
    files: dict[str, FileEntry] = field(default_factory=dict)
    format: int = MANIFEST_FORMAT

    @property
    def total_bytes(self) -> int:
        return sum(entry.bytes for entry in self.files.values())

    def encode(self) -> bytes:
        """With a checksum of its own: it says what proves the other files, and nothing else would prove it."""
        fields = asdict(self)
        return json.dumps({**fields, "checksum": _checksum(fields)}, indent=1).encode()

    @classmethod
    def decode(cls, text: bytes) -> Manifest:
        """Raises ValueError where it is not a manifest that this version can read."""
        try:
            document: dict[str, Any] = json.loads(text)
            if document["format"] != MANIFEST_FORMAT:
                raise ValueError(f"manifest format {document['format']}, this version reads {MANIFEST_FORMAT}")
            checksum = document.pop("checksum", None)  # manifests of before November 2026 have none
            if checksum is not None and checksum != _checksum(document):
                raise ValueError("its own checksum is not right")
            files = {name: FileEntry(**entry) for name, entry in document.pop("files").items()}
            return cls(files=files, **document)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a manifest: {error}") from error


def _checksum(fields: Mapping[str, Any]) -> str:
    """Of what a manifest says, however it is laid out."""
    return xxhash.xxh3_128_hexdigest(json.dumps(fields, sort_keys=True).encode())


def commit_directory(
    final: Path, files: Mapping[str, memoryview | bytes], manifest: Manifest, show_progress: ShowProgress = tell_nobody
) -> Manifest:
    """Publish `files` as the directory `final`; returns the manifest with the time, sizes and checksums filled in.

    When this returns the checkpoint survives a power cut. Raises OSError after removing what it wrote; where only the
    last sync failed `final` is there, and may be lost in a power cut.
    """
    temporary = final.with_name(TEMPORARY_PREFIX + final.name)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()  # with nothing above it: where somebody has removed the run, half of it must not come back
    try:
        entries = {name: write_durably(temporary / name, content, show_progress) for name, content in files.items()}
        complete = replace(manifest, committed_at=journal.now(), files=entries)
        write_durably(temporary / MANIFEST, complete.encode())
        sync_directory(temporary)
        os.rename(temporary, final)
        sync_directory(final.parent)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return complete


def write_durably(path: Path, content: memoryview | bytes, show_progress: ShowProgress = tell_nobody) -> FileEntry:
    """Write a new file in blocks, its checksum on the way, and fsync it; `show_progress` hears of what is on the disk.

    A large file is synced now and then on the way: a slow disk that makes progress must not look like a stuck one.
    """
    digest = xxhash.xxh3_128()
    view = memoryview(content)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        offset = synced = 0
        while offset < len(view):
            block = view[offset : offset + _BLOCK_BYTES]
            digest.update(block)
            written = _write_block(fd, block, offset)
            os.posix_fadvise(fd, offset, written, os.POSIX_FADV_DONTNEED)  # the disk begins now, not with the fsync
            offset += written
            if offset - synced >= _SYNCED_AT_A_TIME_BYTES:
                os.fdatasync(fd)
                synced = offset
            show_progress()
        os.fsync(fd)
        show_progress()
        # Read again only after a death: its pages would push the training data out of memory, and the next checkpoint
        # would have to find fresh ones (a virtual machine that has to ask its host for them took 0.2 to 1.1 s more).
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    return FileEntry(len(view), digest.hexdigest())


def _write_block(fd: int, block: memoryview, offset: int) -> int:
    written = 0
    while written < len(block):
        written += os.pwrite(fd, block[written:], offset + written)
    return written


def mark_checkpoint(checkpoint: Path, *, periodic: bool, pinned: bool) -> Manifest:
    """Make a committed checkpoint periodic or pinned too, durably; returns its manifest. Raises OSError, ValueError."""
    manifest = Manifest.decode((checkpoint / MANIFEST).read_bytes())
    marked = replace(manifest, periodic=manifest.periodic or periodic, pinned=manifest.pinned or pinned)
    if marked != manifest:
        replace_durably(checkpoint / MANIFEST, marked.encode().decode())
    return marked


def remove_checkpoint(directory: Path) -> None:
    """Delete a checkpoint so that a half-deleted one is never taken for a damaged one: renamed first, then removed."""
    doomed = directory.with_name(REMOVING_PREFIX + directory.name)
    os.rename(directory, doomed)
    shutil.rmtree(doomed)


def remove_leftovers(checkpoints: Path) -> None:
    """Delete what an interrupted commit or removal left behind."""
    for entry in checkpoints.iterdir() if checkpoints.is_dir() else ():
        if entry.name.startswith((TEMPORARY_PREFIX, REMOVING_PREFIX)):
            shutil.rmtree(entry)
    for half_marked in checkpoints.glob(f"*/.{MANIFEST}.tmp"):
        half_marked.unlink()
