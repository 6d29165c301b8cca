"""Whatever a person types, composing either works or is refused with findings: nothing else is ever raised."""

from __future__ import annotations

from pathlib import Path

from config_files import TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainerd.config import compose
from trainerd.contracts.errors import SpecificationRefused

WHERE = Path("/nowhere/run.yaml")
SYNTAX = r"""{ } [ ] : - &a *a <<: !!str ! ' " | > ? --- %YAML # \ud800 \U00110000 null 3e-4 .nan -1 kind: path: a:B"""
FRAGMENTS = st.sampled_from([*SYNTAX.split(), " ", "\n", "\n  ", "\t", "%YAML 1.1\n---\n", "kind: hdf5"])
ANYTHING = st.text(max_size=60) | st.lists(FRAGMENTS | st.text(max_size=4), max_size=25).map("".join)


def check(text: str, *overrides: str) -> None:
    try:
        why = compose(WHERE, text, overrides).spec.name
    except SpecificationRefused as refused:
        why = str(refused)
    assert why


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANYTHING)
def test_any_text_is_composed_or_refused(text: str) -> None:
    check(text)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_change_of_a_good_configuration_is_composed_or_refused(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(TINY)))
    end = data.draw(st.integers(begin, min(begin + 12, len(TINY))))

    check(TINY[:begin] + data.draw(ANYTHING) + TINY[end:])


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["", "data=", "data.inputs=", "model.args.x=", "metrics=", "data.kind=", "data.path="]), ANYTHING
)
def test_any_override_is_applied_or_refused(key: str, value: str) -> None:
    check(TINY, key + value)
