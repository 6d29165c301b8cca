"""Imports what a configuration names as "package.module:Name". Runs user code: in inspectors and trainers only.

Whatever goes wrong in it comes out as one SpecificationRefused that says where; nothing here calls what it imports.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from trainerd.contracts.errors import Finding, SpecificationRefused

_NOT_THE_USERS = ("<frozen", str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))


def import_from(directory: Path) -> None:
    """Make `directory`, the configuration's own, the first place that targets are imported from."""
    place = str(directory.absolute())
    if sys.path[:1] != [place]:
        sys.path.insert(0, place)


def import_target(target: str, key: str) -> Any:
    """The object that `target` ("package.module:Name", Name may have dots) names.

    `key` is where the target stands, such as model.target. Raises SpecificationRefused.
    """
    module_name, _, path = target.partition(":")
    found: Any = _import_module(module_name, key)
    for name in path.split("."):
        if not hasattr(found, name):
            owner = f"{found.__name__} ({found.__file__})" if isinstance(found, ModuleType) else repr(found)
            raise SpecificationRefused(
                [Finding(f"{owner} has no {name}", key=key, suggestion=nearest(name, dir(found)))]
            )
        found = getattr(found, name)
    return found


@contextmanager
def user_code(what: str, key: str) -> Iterator[None]:
    """Turns whatever the user's code raises into one SpecificationRefused: `what` fails, why, and in which line."""
    try:
        yield
    except SpecificationRefused:
        raise
    except (Exception, SystemExit) as error:
        raise SpecificationRefused([Finding(f"{what} fails: {describe_failure(error)}", key=key)]) from error


def describe_failure(error: BaseException) -> str:
    """The last line of a traceback, with the innermost file:line that is neither torch's nor ours."""
    last_line = traceback.format_exception_only(error)[-1].strip()
    frames = [
        each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(_NOT_THE_USERS)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{last_line} ({error.filename}:{error.lineno})"
    return f"{last_line} ({frames[-1].filename}:{frames[-1].lineno})" if frames else last_line


def nearest(name: str, known: list[str]) -> str | None:
    """The known name that `name` was most likely meant to be."""
    return next(iter(get_close_matches(name, known, n=1)), None)


def _import_module(name: str, key: str) -> ModuleType:
    with user_code(f"importing {name}", key):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise SpecificationRefused([_missing_module(name, error, key)]) from error


def _missing_module(wanted: str, error: ModuleNotFoundError, key: str) -> Finding:
    """Tells apart: the target's package, a module inside it, and a package that the user's module imports."""
    missing = error.name or wanted
    if missing == wanted or wanted.startswith(f"{missing}."):
        package, _, last = missing.rpartition(".")
        if package:
            modules = [each.name for each in pkgutil.iter_modules(sys.modules[package].__path__)]
            message = f"{sys.executable} cannot import {wanted}: package {package} has no module {last}"
            return Finding(message, key=key, suggestion=nearest(last, modules))
        message = f"{sys.executable} cannot import {wanted}: there is no module {missing}"
    else:
        message = f"{sys.executable} cannot import {wanted}: {describe_failure(error)}"
    return Finding(f"{message}; {_installation(missing)}", key=key)


def _installation(module: str) -> str:
    return f"if it is a package: {sys.executable} -m pip install {module.partition('.')[0]}"
