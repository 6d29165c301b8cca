"""The checkpoints of a run, as their manifests say. Verifies nothing: who resumes does that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


def list_checkpoints(directory: Path, best_step: int | None) -> list[dict[str, Any]]:
    """The committed checkpoints below `directory`, newest first. One with a damaged or missing manifest is none."""
    manifests = [(path.parent, _read_manifest(path)) for path in directory.glob(f"step-*/{MANIFEST}")]
    whole = sorted(((m["step"], path, m) for path, m in manifests if m), key=lambda item: item[0], reverse=True)
    newest_step = whole[0][0] if whole else None
    return [
        {
            "step": step,
            "epoch": manifest["epoch"],
            "kinds": _kinds(manifest, newest_step, best_step),
            "path": str(path),
            "bytes": _total_bytes(manifest),
            "committed_at": manifest["committed_at"],
        }
        for step, path, manifest in whole
    ]


def _kinds(manifest: dict[str, Any], newest_step: int | None, best_step: int | None) -> list[str]:
    """Why the checkpoint is kept; one may have several kinds."""
    kinds = {
        "last": manifest["step"] == newest_step,
        "best": manifest["step"] == best_step,
        "periodic": manifest.get("periodic", False),
        "pinned": manifest.get("pinned", False),
    }
    return [kind for kind, has_it in kinds.items() if has_it]


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """What it says; None where that is not what a manifest says, whichever bytes of it have changed."""
    try:
        manifest = json.loads(path.read_bytes())
        numbers = (manifest["step"], manifest["epoch"], _total_bytes(manifest))
        is_whole = isinstance(manifest["committed_at"], str) and all(isinstance(each, int) for each in numbers)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return manifest if is_whole else None


def _total_bytes(manifest: dict[str, Any]) -> int:
    return sum(file["bytes"] for file in manifest["files"].values())
