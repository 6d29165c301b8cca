"""One check of a configuration and its data: everything that admission looks at, and every problem that it finds.

Used by inspectors, `trainerd inspect` and `trainerd train` alike. Imports user code, so it runs in a process that may
die: never in the worker host itself. It computes on fake tensors, touches no CUDA and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trainerd.config import compose, spec_to_yaml
from trainerd.config.origins import DEFAULT
from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.contracts.messages import Inspect, Inspected
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.spec import RunSpec
from trainerd.data import check_values, open_source
from trainerd.training.components import import_from
from trainerd.training.going_on import read_newest, refuse_other_data
from trainerd.training.model_check import check_declared, check_model
from trainerd.worker.disk_space import check_disk_space


def inspect(request: Inspect, disk: Path) -> Inspected:
    """The resolved specification, or all that is wrong with it. `disk`: where its run directory would lie.

    Of a run that goes on it also tells what has changed since its newest checkpoint, and refuses what must not.
    """
    try:
        composed = compose(Path(request.path), request.text, request.overrides)
    except SpecificationRefused as refusal:
        return Inspected(None, None, [_place(finding, request).to_json() for finding in refusal.findings], [])
    import_from(Path(request.path).parent)
    run_dir = Path(request.run_dir) if request.run_dir else None
    saved = read_newest(RunDirectory(run_dir).checkpoints) if run_dir else None
    changes = saved.changes(composed.spec) if saved else []
    checked = _check(composed.spec, disk, run_dir)
    problems = [*(saved.refuse(changes) if saved else []), *checked.problems]
    accepted = None
    if saved and checked.fingerprint and saved.has_other_data(checked.fingerprint):
        accepted = checked.fingerprint if request.accept_changed_data else None
        problems += [] if accepted else [refuse_other_data(saved)]
    told, findings = [
        [_place(_locate(finding, composed.origins), request).to_json() for finding in each]
        for each in ([*composed.warnings, *checked.warnings], problems)
    ]
    listed = [change.to_json() for change in changes]
    if findings:
        return Inspected(None, None, findings, told, listed)
    spec = composed.spec
    return Inspected(spec.model_dump(mode="json"), spec_to_yaml(spec), [], told, listed, accepted)


@dataclass(frozen=True)
class _Checked:
    """What is wrong with data, model and disk, and what may be; the data's fingerprint if it could be opened."""

    problems: list[Finding]
    warnings: list[Finding]
    fingerprint: str | None = None


def _check(spec: RunSpec, disk: Path, run_dir: Path | None) -> _Checked:
    """Where the data does not open, its declaration has to do."""
    try:
        source = open_source(spec.data)
    except SpecificationRefused as refusal:
        declared = check_declared(spec)
        return _Checked([*refusal.findings, *declared.errors], declared.warnings)
    try:
        fingerprint = source.fingerprint()
        verdict = check_model(spec, source)
        problems = [*check_values(source, spec.data), *verdict.errors]
        if not verdict.errors and verdict.model_bytes is not None:
            problems += check_disk_space(spec, verdict.model_bytes, disk, run_dir)
        return _Checked(problems, verdict.warnings, fingerprint)
    except MemoryError:
        return _Checked([Finding("so many samples do not fit this machine's memory", key="data")], [])
    finally:
        source.close()


def _place(finding: Finding, request: Inspect) -> Finding:
    """The finding where a person can look: the text of a run that goes on is that of its spec.yaml, not the file's."""
    if request.run_dir is None or finding.file != request.path:
        return finding
    return replace(finding, file=str(RunDirectory(Path(request.run_dir)).spec), line=None, column=None)


def _locate(finding: Finding, origins: Mapping[str, str]) -> Finding:
    """The finding with the place in the configuration, or the override, that its key came from."""
    if finding.file is not None or finding.key is None:
        return finding
    origin = _origin_of(finding.key, origins)
    file, *numbers = origin.rsplit(":", 2)
    if len(numbers) == 2 and all(number.isdigit() for number in numbers):
        return replace(finding, file=file, line=int(numbers[0]), column=int(numbers[1]))
    return replace(finding, file=origin or None)


def _origin_of(key: str, origins: Mapping[str, str]) -> str:
    """Who said `key`, or something within the nearest section above it; empty where nobody did."""
    while key:
        within = (origin for known, origin in origins.items() if known == key or known.startswith(f"{key}."))
        said = next((origin for origin in within if origin != DEFAULT), "")
        if said:
            return said
        key = key.rpartition(".")[0]
    return ""
