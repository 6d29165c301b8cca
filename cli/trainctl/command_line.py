"""The command line: its verbs, imported one by one as they are called, and the options that many of them share."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from trainctl.daemon import Daemon
from trainctl.output import FORMATS
from trainerd.contracts.places import client_sockets

SECTIONS = {
    "Submit and look": ("submit", "status", "list", "show", "why", "follow", "wait", "logs", "metrics", "events"),
    "Give orders": ("pause", "resume", "checkpoint", "stop", "kill", "cancel", "retry", "move", "remove"),
    "Configurations, without a daemon": ("check", "config"),
}
VERBS = tuple(verb for verbs in SECTIONS.values() for verb in verbs)

Function = TypeVar("Function", bound=Callable[..., Any])


class Verbs(click.Group):
    """The verbs, each in trainctl.commands under its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"trainctl.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = formatter.width - 6 - max(map(len, VERBS))
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                commands = [(verb, self.get_command(ctx, verb)) for verb in verbs]
                formatter.write_dl([(verb, found.get_short_help_str(width)) for verb, found in commands if found])


def examples(*lines: str) -> str:
    """The end of a verb's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def daemon_option(function: Function) -> Function:
    """`--socket`; the verb gets the Daemon behind it."""
    return click.option(
        "--socket",
        "daemon",
        metavar="PATH",
        callback=_daemon_at,
        help="The daemon's control socket. Default: TRAINERD_SOCKET, TRAINERD_HOME, the user's daemon, the system's.",
    )(function)


def output_option(default: str | None = "table", formats: tuple[str, ...] = FORMATS) -> Callable[[Function], Function]:
    """`-o FORMAT` and `--json`; the verb gets the format's name as `output`."""

    def decorate(function: Function) -> Function:
        as_json = click.option("--json", "output", flag_value="json", help="The same as -o json.")
        chosen = click.option("-o", "--output", type=click.Choice(formats), default=default, help="Form of the answer.")
        return chosen(as_json(function))

    return decorate


def run_argument(function: Function) -> Function:
    """One run, or none; the verb gets `reference`."""
    return click.argument("reference", metavar="[ID]", required=False)(function)


def runs_argument(function: Function) -> Function:
    """Any number of runs; the verb gets `references`."""
    return click.argument("references", metavar="[ID]...", nargs=-1)(function)


def _daemon_at(ctx: click.Context, _: click.Parameter, socket: str | None) -> Daemon:
    return Daemon(client_sockets(os.environ, socket or ctx.find_root().params.get("socket")))


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from trainerd import __version__

        click.echo(f"trainctl {__version__}")
        ctx.exit()


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("trainctl submit overnight.yaml --follow", "trainctl status", "trainctl stop --checkpoint"),
)
@click.option("--socket", metavar="PATH", help="The daemon's control socket.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_context
def cli(ctx: click.Context, socket: str | None) -> None:  # noqa: ARG001 - read by _daemon_at
    """Give orders to trainerd, and see what becomes of them.

    An ID is a run's number or its name; `latest` is the newest. Without an ID the only active run is meant, and where
    nothing is active the verbs that only look mean the newest. Plain `trainctl` is `trainctl status`.
    """
    if ctx.invoked_subcommand is None:
        from trainctl.commands.status import command as status

        with status.make_context("status", [], parent=ctx) as status_context:
            status.invoke(status_context)
