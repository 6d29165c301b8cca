"""trainctl check: everything that admission checks, without queueing and without a daemon."""

from __future__ import annotations

import os
from typing import Any

import click

from trainctl.admission_warnings import say_warnings
from trainctl.command_line import examples, output_option
from trainctl.configuration_files import split_arguments
from trainctl.inspection import inspect
from trainctl.output import write_json
from trainctl.terminal import say
from trainerd.contracts.errors import ExitCode, Finding

Json = dict[str, Any]


@click.command(
    "check", epilog=examples("trainctl check overnight.yaml", "trainctl check overnight.yaml data.batch_size=64")
)
@click.argument("arguments", metavar="FILE... [KEY=VALUE]...", nargs=-1, required=True)
@output_option(default=None, formats=("table", "json"))
def command(arguments: tuple[str, ...], output: str | None) -> int:
    """Check configurations without queueing them.

    Checks what admission checks: the data too, and that model and loss fit together. Needs no daemon. Exits with 78 if
    anything is wrong, and names every problem.
    """
    files, overrides = split_arguments(arguments)
    answers = {file: inspect("check", os.path.abspath(file), *overrides) for file in files}
    if output == "json":
        write_json(list(answers.values()) if len(files) > 1 else answers[files[0]])
    for file, answer in answers.items():
        _report(file, answer)
    return ExitCode.REFUSED if any(answer["findings"] for answer in answers.values()) else ExitCode.DONE


def _report(file: str, answer: Json) -> None:
    say_warnings(answer["warnings"])
    for finding in answer["findings"]:
        say(str(Finding.from_json(finding)))
    if not answer["findings"]:
        say(f"{file}: nothing is wrong")
