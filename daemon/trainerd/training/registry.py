"""Turns a component of a configuration (a registered name or a target, with arguments) into what it stands for.

What is chosen is of the kind asked for, and its arguments fit its signature, before anything is called.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.contracts.spec import Component
from trainerd.training.targets import import_target, nearest, user_code

Factory = Callable[..., Any]


@dataclass(frozen=True)
class Kind:
    """What may stand in one place of a configuration."""

    noun: str  # model, loss, ...
    expected: str  # what a target has to be, in words
    accepts: Callable[[object], bool]  # the same as a question
    registered: Mapping[str, Factory]


def choose(kind: Kind, component: Component, key: str) -> Factory:
    """The registered or imported object, of the kind asked for; it has not been called.

    `key` is the component's dotted path. Raises SpecificationRefused.
    """
    if component.target is None:
        return _registered(kind, str(component.name), key)
    chosen = import_target(component.target, f"{key}.target")
    if not kind.accepts(chosen):
        message = f"{component.target} cannot serve as the {kind.noun}"
        raise SpecificationRefused(
            [Finding(message, key=f"{key}.target", expected=kind.expected, found=_describe(chosen))]
        )
    return typing.cast(Factory, chosen)


def call(factory: Factory, component: Component, key: str, *positional: Any, **supplied: Any) -> Any:
    """Call `factory` with what trainerd supplies and with the component's own arguments.

    Raises SpecificationRefused for arguments that do not fit, and for whatever the call raises (then as its cause).
    """
    check_arguments(factory, component, key, len(positional), supplied)
    with user_code(f"{component.target or component.name}(...)", f"{key}.args"):
        return factory(*positional, **supplied, **component.args)


def check_arguments(
    factory: Factory, component: Component, key: str, positional: int, supplied: Iterable[str] = ()
) -> None:
    """Hold the component's arguments against the signature; `positional` and `supplied` are not the user's to give.

    Registered factories have their arguments' types checked too. Raises SpecificationRefused with every problem.
    """
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except ValueError:  # some functions written in C have no signature to look at
        return
    free = {each.name: each for each in parameters[positional:] if _is_named(each) and each.name not in set(supplied)}
    taken = {each.name for each in parameters} - set(free)
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
    unknown = [name for name in component.args if name not in free and (not takes_any or name in taken)]
    findings = [_unknown_argument(name, component, key, list(free)) for name in unknown]
    missing = [name for name, each in free.items() if each.default is each.empty and name not in component.args]
    findings += [Finding(f"{_label(component)} needs an argument {name}", key=f"{key}.args") for name in missing]
    if component.target is None:
        given = {name: value for name, value in component.args.items() if name in free}
        findings += _type_findings(factory, given, key)
    if findings:
        raise SpecificationRefused(findings)


def _registered(kind: Kind, name: str, key: str) -> Factory:
    if name in kind.registered:
        return kind.registered[name]
    names = list(kind.registered)
    message = f"no {kind.noun} is registered as {name}"
    expected = f'one of {", ".join(names)}, or target: "package.module:Name"'
    raise SpecificationRefused(
        [Finding(message, key=f"{key}.name", expected=expected, suggestion=nearest(name, names))]
    )


def _is_named(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _unknown_argument(name: str, component: Component, key: str, known: list[str]) -> Finding:
    if name in type(component).model_fields:
        return Finding(f"{name} does not stand among args", key=f"{key}.args.{name}", suggestion=f"{key}.{name}")
    message = f"{_label(component)} takes no argument {name}"
    return Finding(message, key=f"{key}.args.{name}", suggestion=nearest(name, known))


def _type_findings(factory: Factory, given: Mapping[str, Any], key: str) -> list[Finding]:
    described = factory.__init__ if inspect.isclass(factory) else factory
    hints = typing.get_type_hints(described, include_extras=True)
    findings = []
    for name, value in given.items():
        try:
            TypeAdapter(hints[name], config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
        except ValidationError as error:
            for problem in error.errors():
                place = ".".join(str(part) for part in (key, "args", name, *problem["loc"]))
                findings.append(Finding(problem["msg"], key=place, found=repr(problem["input"])))
    return findings


def _label(component: Component) -> str:
    return str(component.target or component.name)


def _describe(found: object) -> str:
    if inspect.isclass(found):
        bases = ", ".join(base.__name__ for base in found.__bases__)
        return f"class {found.__name__}({bases})"
    if inspect.isroutine(found):
        return "a function"
    return f"an instance of {type(found).__name__}"
