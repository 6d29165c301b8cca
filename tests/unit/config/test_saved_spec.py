"""spec.yaml: every default written out, YAML for everybody, and read back equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from config_files import TINY, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainerd.config import compose, read_spec, spec_to_yaml
from trainerd.config.document import parse_yaml
from trainerd.config.tree import Source, plain
from trainerd.contracts.errors import SpecificationRefused
from trainerd.contracts.spec import RunSpec

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
    max_leaves=8,
)


def tiny(directory: Path) -> RunSpec:
    return compose(directory / "tiny.yaml", TINY).spec


def test_every_default_is_written_out(tmp_path: Path) -> None:
    text = spec_to_yaml(tiny(tmp_path))

    assert "checkpoint:\n  every_steps: null\n  every_minutes: 10.0\n  keep_periodic: 2\n" in text
    assert "early_stopping: null\n" in text


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.dictionaries(TEXT, VALUES, max_size=4), lr=st.floats(1e-12, 1e12), source=TEXT)
def test_what_was_written_is_read_back_equal(tmp_path: Path, arguments: dict[str, Any], lr: float, source: str) -> None:
    """By the quick reader, and as YAML by the parser that reads any other file."""
    spec = tiny(tmp_path)
    model = spec.model.model_copy(update={"args": arguments})
    optimizer = spec.optimizer.model_copy(update={"lr": lr})
    spec = spec.model_copy(update={"model": model, "optimizer": optimizer, "source": source})
    path = write(tmp_path / "spec.yaml", spec_to_yaml(spec))

    tree, findings = parse_yaml(path.read_text(), Source("spec.yaml", "spec.yaml", tmp_path))

    assert read_spec(path) == spec
    assert findings == []
    assert RunSpec.model_validate(plain(tree)) == spec


COMPONENT = st.dictionaries(TEXT, VALUES, max_size=3).flatmap(
    lambda args: st.sampled_from([{"name": "adamw", "args": args}, {"target": "parts:Own", "args": args}])
)
STOPPING = st.none() | st.fixed_dictionaries({"patience": st.integers(1, 9), "min_delta": st.floats(0, 1)})


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(optimizer=COMPONENT, stopping=STOPPING, metrics=st.lists(st.just({"name": "mae"}), max_size=2))
def test_a_saved_spec_composes_again_to_the_same(
    tmp_path: Path, optimizer: dict[str, Any], stopping: dict[str, Any] | None, metrics: list[dict[str, Any]]
) -> None:
    """A run that goes on is inspected by its saved spec, as if it lay where its configuration did: nothing changes."""
    (tmp_path / "samples.h5").touch()
    fields = {"inputs": {"key": "x", "shape": [4]}, "targets": {"key": "y", "shape": [1]}, "split": {"val": 0.5}}
    data = {"kind": "hdf5", "path": str(tmp_path / "samples.h5"), "batch_size": 4, **fields}
    changed = {"data": data, "optimizer": optimizer, "early_stopping": stopping, "metrics": metrics}
    spec = RunSpec.model_validate({**tiny(tmp_path).model_dump(mode="json"), **changed})

    again = compose(tmp_path / "tiny.yaml", spec_to_yaml(spec), [])
    patient = compose(tmp_path / "tiny.yaml", spec_to_yaml(spec), ["early_stopping.patience=77", "optimizer.lr=0.5"])

    assert again.spec == spec
    assert patient.spec.early_stopping is not None
    assert patient.spec.early_stopping.patience == 77
    assert patient.spec.optimizer == spec.optimizer.model_copy(update={"lr": 0.5})
    assert patient.spec.data == spec.data


def test_a_spec_that_was_edited_by_hand_is_read_too(tmp_path: Path) -> None:
    path = write(tmp_path / "spec.yaml", TINY + "# somebody was here\n")

    assert read_spec(path).optimizer.lr == 1e-3


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [("seed: 0", "seed: -1", "seed"), ("seed: 0", "sede: 0", "sede"), ("seed: 0", "- 3", None)],
)
def test_a_spoilt_spec_is_refused_at_its_line(tmp_path: Path, before: str, after: str, key: str | None) -> None:
    path = write(tmp_path / "spec.yaml", spec_to_yaml(tiny(tmp_path)).replace(before, after, 1))

    with pytest.raises(SpecificationRefused) as refused:
        read_spec(path)

    assert [(it.file, it.line, it.key) for it in refused.value.findings] == [(str(path), 3, key)]
