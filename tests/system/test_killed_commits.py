"""A commit killed just before any of its system calls leaves a checkpoint whole, old or new, and no obstacle."""

from __future__ import annotations

import sys
from pathlib import Path

import plain_saver
import pytest
from strace import KILL, Call, calls_on, run_under_strace

from trainerd.training.checkpoints.verify import list_checkpoints, newest_verified, verify

CALLS = (  # all that only look are left out: a death before one is a death before the next call that does something
    *("openat", "mkdir", "pwrite64", "write", "ftruncate", "fadvise64", "fsync", "fdatasync", "close"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir"),
)
FEWEST_CALLS = 40

pytestmark = pytest.mark.system


def refuse_damage(name: str, why: str) -> None:
    raise AssertionError(f"{name} is damaged: {why}")


def test_a_commit_killed_at_any_system_call_leaves_old_or_new_whole_and_the_next_save_works(tmp_path: Path) -> None:
    """Also the mark of the new one and the removal of the old one; what was told by then holds."""
    calls = undisturbed_calls(tmp_path / "undisturbed")
    assert len(calls) > FEWEST_CALLS
    newest_steps = set()

    for number, call in enumerate(calls):
        checkpoints = tmp_path / str(number)
        told = save_and_die(checkpoints, call)
        newest = newest_verified(checkpoints, refuse_damage)
        assert newest is not None, call
        assert all(verify(path) for path in list_checkpoints(checkpoints)), call
        step, is_pinned = newest.manifest.step, newest.manifest.pinned
        assert step == 20 or "20" not in told, call
        assert is_pinned or "pinned" not in told, call
        again = 30 if step == 20 else 20
        plain_saver.save(checkpoints, again)
        assert verify(checkpoints / f"step-{again:09d}"), call
        newest_steps.add(step)

    assert newest_steps == {10, 20}
    print(f"killed at {len(calls)} system calls")


def undisturbed_calls(checkpoints: Path) -> list[Call]:
    """The calls of a save that nobody disturbs, as far as they touch the checkpoints."""
    plain_saver.save(checkpoints, 10)
    log = checkpoints.with_suffix(".calls")
    saved = run_under_strace(saver_of(checkpoints), log, names=CALLS)
    assert saved.returncode == 0, saved.stderr
    assert [path.name for path in list_checkpoints(checkpoints)] == ["step-000000020"]
    return calls_on(checkpoints, log)


def save_and_die(checkpoints: Path, call: Call) -> list[str]:
    """Save until this call; what was told by then."""
    plain_saver.save(checkpoints, 10)
    log = checkpoints.with_suffix(".calls")
    saved = run_under_strace(saver_of(checkpoints), log, injected=[call.to(KILL)])
    assert saved.returncode != 0, f"survived {call}"
    assert str(checkpoints) in log.read_text().splitlines()[-2], f"killed elsewhere than at {call}"
    return saved.stdout.split()


def saver_of(checkpoints: Path) -> list[str | Path]:
    return [sys.executable, plain_saver.__file__, checkpoints]
