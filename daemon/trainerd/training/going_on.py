"""Whether a run may go on from its newest checkpoint with this specification and this data, and what changes then.

One comparison for everybody: inspectors and `trainerd train` before anything starts, the trainer before it restores.
Reads what a checkpoint says of its run, never its tensors; writes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash
from pydantic import ValidationError

from trainerd.contracts.errors import Finding
from trainerd.contracts.spec import RunSpec
from trainerd.training.checkpoints.commit import Manifest
from trainerd.training.checkpoints.snapshot import DOCUMENT_FILE, RunState
from trainerd.training.checkpoints.verify import Damaged, list_checkpoints, read_manifest
from trainerd.training.spec_changes import Change, Standpoint, find_changes, refuse_changes


@dataclass(frozen=True)
class Saved:
    """What a checkpoint says of the run that it is of."""

    at: Standpoint
    data_fingerprint: str

    @classmethod
    def of(cls, state: RunState) -> Saved:
        return cls.read(state.step, state.epoch, state.training)

    @classmethod
    def read(cls, step: int, epochs_finished: int, training: dict[str, Any]) -> Saved:
        """From the part of a state that is not tensors. Raises ValidationError for a specification of another time."""
        then = RunSpec.model_validate(training["spec"])
        at = Standpoint(step, epochs_finished, then, loss_has_state=bool(training["loss"]))
        return cls(at, training["data_fingerprint"])

    def changes(self, now: RunSpec) -> list[Change]:
        return find_changes(self.at, now)

    def refuse(self, changes: list[Change]) -> list[Finding]:
        """A finding for each of the changes that cannot be."""
        return refuse_changes(changes, self.at.step)

    def has_other_data(self, fingerprint: str) -> bool:
        return fingerprint != self.data_fingerprint


def read_newest(checkpoints: Path) -> Saved | None:
    """What the newest sound checkpoint says; None where there is none.

    Sound as far as can be told without reading tensors: every file is there in its size, the document verifies. The
    trainer, which reads all, may go on from an older one, and compares again.
    """
    for path in list_checkpoints(checkpoints):
        try:
            manifest = read_manifest(path)
            return Saved.read(manifest.step, manifest.epoch, _read_document(path, manifest))
        except (Damaged, OSError, KeyError, TypeError, ValidationError):
            continue
    return None


def refuse_other_data(saved: Saved) -> Finding:
    """The finding of data that is not the checkpoint's and that nobody has accepted."""
    return Finding(f"{other_data_than(saved)}; to go on all the same: --accept-changed-data", key="data")


def other_data_than(saved: Saved) -> str:
    return f"this is not the data that the run was trained on until step {saved.at.step}"


def _read_document(path: Path, manifest: Manifest) -> dict[str, Any]:
    """The document of a checkpoint, its tensors left as marks. Raises Damaged, OSError."""
    for name, entry in manifest.files.items():
        if (path / name).stat().st_size != entry.bytes:
            raise Damaged(f"{name}: not the manifest's size")
    content = (path / DOCUMENT_FILE).read_bytes()
    if xxhash.xxh3_128_hexdigest(content) != manifest.files[DOCUMENT_FILE].xxh3:
        raise Damaged(f"{DOCUMENT_FILE}: its checksum is not the manifest's")
    document: dict[str, Any] = json.loads(content)
    return document
