"""trainctl config: the JSON Schema of a configuration, and a configuration with every default and origin."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import click

from trainctl.command_line import examples, output_option
from trainctl.configuration_files import split_arguments
from trainctl.inspection import inspect
from trainctl.output import write_json, write_lines
from trainctl.tables import draw_table
from trainerd.contracts.errors import UsageError

Json = dict[str, Any]


@click.group(
    "config", epilog=examples("trainctl config schema > run.schema.json", "trainctl config show overnight.yaml")
)
def command() -> None:
    """Look at configurations. Needs no daemon."""


@command.command("schema", epilog=examples("trainctl config schema > run.schema.json"))
def schema() -> None:
    """Print the JSON Schema of a configuration, for editors."""
    write_json(inspect("schema"))


@command.command(
    "show", epilog=examples("trainctl config show overnight.yaml", "trainctl config show a.yaml seed=3 -o yaml")
)
@click.argument("arguments", metavar="FILE [KEY=VALUE]...", nargs=-1, required=True)
@output_option(formats=("table", "json", "yaml"))
def show(arguments: tuple[str, ...], output: str) -> None:
    """Print the resolved configuration, every default written out, with the place that each value comes from."""
    files, overrides = split_arguments(arguments)
    if len(files) > 1:
        raise UsageError("config show takes one file")
    answer = inspect("show", os.path.abspath(files[0]), *overrides)
    if output == "json":
        write_json(answer)
    elif output == "yaml":
        write_lines([answer["yaml"].rstrip("\n")])
    else:
        write_lines(draw_table(["KEY", "VALUE", "FROM"], list(_rows(answer["spec"], answer["origins"]))))


def _rows(tree: Json, origins: dict[str, str], above: str = "") -> Iterator[list[str]]:
    """(dotted key, value, origin) of every leaf."""
    for name, value in tree.items():
        key = f"{above}{name}"
        if isinstance(value, dict) and value:
            yield from _rows(value, origins, f"{key}.")
        else:
            yield [key, value if isinstance(value, str) else json.dumps(value), origins.get(key, "default")]
