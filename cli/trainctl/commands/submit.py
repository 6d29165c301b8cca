"""trainctl submit: check configurations and queue a run for each, all or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from trainctl.admission_warnings import say_warnings
from trainctl.command_line import daemon_option, examples, output_option
from trainctl.configuration_files import read_configurations, split_arguments
from trainctl.daemon import Daemon
from trainctl.order_reports import is_removed, report_removal
from trainctl.output import write_json, write_lines, write_runs
from trainctl.terminal import say
from trainerd.contracts.errors import ExitCode, UsageError

Json = dict[str, Any]


@click.command(
    "submit",
    epilog=examples(
        "trainctl submit overnight.yaml",
        "trainctl submit overnight.yaml optimizer.lr=1e-3 --name hotter --follow",
        "trainctl submit first.yaml second.yaml --priority 5",
    ),
)
@click.argument("arguments", metavar="FILE... [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--name", help="Name of the run, instead of the one in the file.")
@click.option("--priority", type=int, default=0, help="Higher is first; 0 by default.")
@click.option("--after", metavar="ID", help="Start only when this run has completed.")
@click.option("--hold", is_flag=True, help="Do not queue yet.")
@click.option("--follow", is_flag=True, help="Watch the run until it has ended. Ctrl+C ends the watching, not the run.")
@click.option("--dry-run", is_flag=True, help="Check only, and print the resolved configuration; queue nothing.")
@output_option(default=None)
@daemon_option
def command(
    arguments: tuple[str, ...],
    name: str | None,
    priority: int,
    after: str | None,
    hold: bool,
    follow: bool,
    dry_run: bool,
    output: str | None,
    daemon: Daemon,
) -> int:
    """Queue a run for each configuration.

    All are checked first, and all are admitted or none. Prints the ids.
    """
    files, overrides = split_arguments(arguments)
    options = {"name": name, "priority": priority, "after": after, "hold": hold, "overrides": overrides}
    requests = [{"path": path, "text": text, **options} for path, text in read_configurations(files)]
    if dry_run:
        return _check(daemon, requests, output)
    if follow and hold:
        raise UsageError("a run that is held cannot be followed; leave out --hold or --follow")
    runs = _queue(daemon, requests)
    if not follow:
        write_runs(runs, output or "id")
        return ExitCode.DONE
    from trainctl.follow import follow_runs

    return follow_runs(daemon, runs, output)


def _check(daemon: Daemon, requests: Sequence[Json], output: str | None) -> int:
    answer = daemon.submit(requests, dry_run=True)
    say_warnings(answer["warnings"])
    if output == "json":
        write_json(answer["runs"] if len(answer["runs"]) > 1 else answer["runs"][0])
    else:
        write_lines("---\n" * (index > 0) + run["spec_yaml"].rstrip("\n") for index, run in enumerate(answer["runs"]))
    say("nothing is wrong; nothing was queued")
    return ExitCode.DONE


def _queue(daemon: Daemon, requests: Sequence[Json]) -> list[Json]:
    """The runs once they are queued."""
    try:
        answer = daemon.submit(requests)
    except KeyboardInterrupt:
        say("interrupted before the daemon had answered: what was submitted may be queued; look with: trainctl list")
        raise
    say_warnings(answer.get("warnings", []))
    runs: list[Json] = answer["runs"]
    if "command" in answer:
        from trainctl.waiting import await_command

        await_command(daemon, answer["command"])
        runs = [daemon.run(str(run["id"])) for run in runs]
    for run in filter(is_removed, runs):  # the answer was lost, and meanwhile somebody removed it
        say(report_removal(run))
    runs = [run for run in runs if not is_removed(run)]
    for run in runs:
        say(f"run {run['id']} ({run['name']}) is {run['state']}; watch it with: trainctl follow {run['id']}")
    return runs
