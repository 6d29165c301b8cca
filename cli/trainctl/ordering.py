"""Giving one order about any number of runs: every order first, then waiting for what each of them leads to.

One way for all verbs: which runs are meant, what is said about refusals, and the exit code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from trainctl.admission_warnings import say_warnings
from trainctl.command_line import daemon_option, output_option
from trainctl.configuration_changes import draw_changes
from trainctl.daemon import Daemon
from trainctl.order_reports import PARTICIPLES, draw_outcome, is_removed, report_removal, report_state
from trainctl.output import write_runs
from trainctl.problems import ReportedError
from trainctl.references import implied_run, runs_that_permit
from trainctl.terminal import say
from trainctl.waiting import await_command, await_run, is_over
from trainerd.contracts.errors import ExitCode, NoSuchRun, UsageError
from trainerd.contracts.states import State, Verb
from trainerd.contracts.waiting import Until

Json = dict[str, Any]
Command = Callable[..., int]

_MOVED_ON = (ExitCode.NOT_ALLOWED, ExitCode.NO_SUCH_RUN)  # what `--all` may meet where others give orders too


@dataclass
class Order:
    """What a person orders of which runs. Each refusal is said as it comes; the first decides the exit code."""

    verb: Verb
    references: Sequence[str]
    everything: bool
    no_wait: bool
    output: str | None
    daemon: Daemon
    refusal: ExitCode = field(default=ExitCode.DONE, init=False)

    def find_runs(self) -> list[Json]:
        """The runs that are meant, each once, as they are before the first order is given. Raises UsageError."""
        if self.everything and self.references:
            raise UsageError("name runs, or give --all, but not both")
        if self.everything:
            return runs_that_permit(self.daemon, self.verb)
        if not self.references:
            return [implied_run(self.daemon, self.verb)]
        found: dict[int, Json] = {}
        for reference in self.references:
            with self._refusable():
                run = self.daemon.run(reference)
                found.setdefault(run["id"], run)
        return list(found.values())

    def give(self, runs: Sequence[Json], **details: Any) -> list[Json]:
        """Order the verb of each run: those that did not refuse, as they are once it is applied."""
        given = []
        with _interruptible("interrupted before the daemon had answered: the order may stand; see: trainctl status"):
            for run in runs:
                with self._refusable(f"run {run['id']} ({run['name']}):" if len(runs) > 1 else None):
                    given.append(_named(self._give_one(run, details), run))
        return given

    def await_each(self, runs: Iterable[Json], until: Until) -> Iterator[Json]:
        """Each run once it is what is waited `until`; one that is removed meanwhile says so."""
        with _interruptible(f"the order to {self.verb} stands; see what becomes of it with: trainctl status"):
            for run in runs:
                yield run if is_removed(run) or is_over(run, until) else self._await_one(run, until)

    def _give_one(self, run: Json, details: Json) -> Json:
        answer = self.daemon.order(self.verb, str(run["id"]), **details)
        say_warnings(answer.get("warnings", []))
        _say_changes(answer.get("changes"))
        if "command" not in answer:
            return answer
        await_command(self.daemon, answer["command"])
        return _unless_removed(answer["id"], lambda: self.daemon.run(str(answer["id"])))

    def _await_one(self, run: Json, until: Until) -> Json:
        seen = _unless_removed(run["id"], lambda: await_run(self.daemon, str(run["id"]), until) or run)
        return _named(seen, run)

    @contextmanager
    def _refusable(self, heading: str | None = None) -> Iterator[None]:
        """Say why the daemon refuses what is inside, and go on. `heading` stands above findings."""
        try:
            yield
        except (ReportedError, NoSuchRun) as error:
            if self.everything and error.exit_code in _MOVED_ON:
                return
            if heading and isinstance(error, ReportedError) and error.findings:
                say(heading)
            _say_changes(getattr(error, "changes", None))
            say(str(error))
            self.refusal = self.refusal or error.exit_code


def carry_out(
    order: Order, until: Until | None = None, report: Callable[[Json], str] = report_state, **details: Any
) -> ExitCode:
    """Give the order to every run that is meant, wait, and say what has become of each. `details` go with it."""
    given = order.give(order.find_runs(), **details)
    outcome = []
    for run in order.await_each(given, until) if until and not order.no_wait else given:
        say(report_removal(run) if is_removed(run) else report(run))
        outcome.append(run)
    return conclude(order, outcome)


def conclude(order: Order, outcome: Sequence[Json]) -> ExitCode:
    """Write the runs that were ordered about where a script wants them; the exit code of the whole order."""
    if not outcome and not order.refusal:
        say(f"no run can be {PARTICIPLES[order.verb]} now")
    if order.output is not None:
        write_runs(outcome, order.output, draw_outcome)
    has_failed = any(run.get("state") == State.FAILED for run in outcome)
    return order.refusal or (ExitCode.FAILED if has_failed else ExitCode.DONE)


def takes_runs(verb: Verb, metavar: str = "[ID]...", all_help: str | None = None) -> Callable[[Command], Command]:
    """`[ID]... --all --no-wait -o FORMAT --socket PATH`; the function gets them as its first argument, an Order.

    Without `all_help` there is neither --all nor --no-wait.
    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def ordered(
            references: tuple[str, ...],
            output: str | None,
            daemon: Daemon,
            everything: bool = False,
            no_wait: bool = False,
            **own: Any,
        ) -> int:
            return function(Order(verb, references, everything, no_wait, output, daemon), **own)

        decorated = output_option(default=None)(daemon_option(ordered))
        if all_help is not None:
            decorated = click.option(
                "--no-wait", is_flag=True, help="Return once the order is applied; do not wait for the runs."
            )(decorated)
            decorated = click.option("--all", "everything", is_flag=True, help=all_help)(decorated)
        return click.argument("references", metavar=metavar, nargs=-1)(decorated)

    return decorate


@contextmanager
def _interruptible(said: str) -> Iterator[None]:
    """Say what stands when Ctrl+C ends what is inside; the interrupt goes on to `main`."""
    try:
        yield
    except KeyboardInterrupt:
        say(said)
        raise


def _unless_removed(run_id: int, ask: Callable[[], Json]) -> Json:
    """What `ask` brings; where there is no such run any more, that it was removed."""
    try:
        return ask()
    except ReportedError as error:
        if error.exit_code is not ExitCode.NO_SUCH_RUN:
            raise
        return {"id": run_id, "removed": True}


def _named(answer: Json, run: Json) -> Json:
    """The answer, with the name that the run had: one that is removed has none any more."""
    return {**answer, "name": answer.get("name", run["name"])}


def _say_changes(changes: Sequence[Json] | None) -> None:
    for line in draw_changes(changes or []):
        say(line)
