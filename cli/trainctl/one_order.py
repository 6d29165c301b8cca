"""One command line, from its words to an exit code that scripts rely on.

The one place that catches every error of ours. It never asks the daemon anything itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from trainctl.command_line import cli
from trainctl.terminal import say
from trainerd.contracts.errors import ExitCode, TrainerdError


def carry_out(arguments: Sequence[str]) -> int:
    """Carry out one command line and write all that it says; the exit code that stands for its end."""
    if sys.stdout is None:  # the caller has closed it
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    try:
        code = _answer(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop_output()
        return ExitCode.DONE  # the reader of our output has seen enough
    except OSError as error:
        _drop_output()
        say(f"cannot write the answer to standard output: {error.strerror or error}")
        return ExitCode.FAILED


def _answer(arguments: Sequence[str]) -> int:
    try:
        with cli.make_context("trainctl", list(arguments)) as context:  # cli.main would exit with 1 where a pipe breaks
            code = cli.invoke(context)
        return code if isinstance(code, int) else ExitCode.DONE
    except click.exceptions.Exit as shown:  # --help, --version
        return shown.exit_code
    except TrainerdError as error:
        say(str(error))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED


def _drop_output() -> None:
    """Let a later flush go nowhere instead of failing once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
