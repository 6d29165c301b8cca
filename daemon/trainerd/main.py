"""`trainerd`: the daemon's own program. Reads the command line, hands over, and turns errors into exit codes.

Every command imports what it needs when it runs: `trainerd supervisor` and `trainerd control` never load torch.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from trainerd import __version__
from trainerd.contracts.errors import AlreadyRunning, DiskError, ExitCode, TrainerdError
from trainerd.contracts.locks import holder_of
from trainerd.contracts.places import Home, daemon_home, settings_file
from trainerd.contracts.processes import set_process_title

if TYPE_CHECKING:
    from trainerd.contracts.settings import Settings

_HOME_OPTION = click.option("--home", metavar="DIR", help="Where the daemon keeps everything (default: TRAINERD_HOME).")
_FILE_ARGUMENT = click.argument("file", type=click.Path(path_type=Path))
_ACCEPT_OPTION = click.option(
    "--accept-changed-data", is_flag=True, help="Go on although the data is not what the run was trained on."
)
_OVERRIDES_ARGUMENT = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


def main() -> None:
    """The console script. One message for an error, and the exit code that the error stands for."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except click.exceptions.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except TrainerdError as error:
        _say(f"trainerd: {error}")
        sys.exit(error.exit_code)


@click.group()
@click.version_option(__version__, prog_name="trainerd")
def cli() -> None:
    """A training daemon for PyTorch: runs live in a service, not in a terminal. Give it orders with trainctl."""


@cli.command()
@click.option("--detach", is_flag=True, help="Run in the background; returns once orders are accepted.")
@_HOME_OPTION
def up(detach: bool, home: str | None) -> None:
    """Run the whole daemon here: supervisor, control plane and worker host, without systemd and without root."""
    from trainerd.embedded.daemon import MARGIN_SECONDS, EmbeddedDaemon
    from trainerd.embedded.detach import run_detached
    from trainerd.embedded.last_daemon import wait_for_last_daemon

    place, settings = _prepare(home)
    with _naming_place(place):
        running = holder_of(place.lock("up"))
        if running is not None:
            raise AlreadyRunning("daemon", str(place.path), running)
        _warn_root()
        wait_for_last_daemon(place, settings.grace_seconds + MARGIN_SECONDS, _say)

    def be_daemon(announce_ready: Callable[[], None]) -> int:
        set_process_title("trainerd up")
        return EmbeddedDaemon(place, settings).run(announce_ready)

    if not detach:
        sys.exit(be_daemon(lambda: _say_ready(place)))
    log = place.path / "daemon.log"
    exit_code = run_detached(be_daemon, log)
    if exit_code == 0:
        _say_ready(place)
    else:
        _say(f"trainerd: the daemon has not come up; {log} says why")
    sys.exit(exit_code)


@cli.command()
@_HOME_OPTION
def down(home: str | None) -> None:
    """End the daemon that `trainerd up` started: every run commits a checkpoint first."""
    from trainerd.embedded.down import stop_daemon

    place = daemon_home(os.environ, home)
    with _naming_place(place):
        sys.exit(stop_daemon(place, _say))


@cli.command()
@_HOME_OPTION
def supervisor(home: str | None) -> None:
    """The process that owns the queue and the state of every run."""
    from trainerd.supervisor.process import run_supervisor

    place, settings = _prepare(home)
    set_process_title("trainerd supervisor")
    sys.exit(run_supervisor(place, settings))


@cli.command()
@_HOME_OPTION
def control(home: str | None) -> None:
    """The process that takes orders on the control socket."""
    from trainerd.control.process import run_control

    place, settings = _prepare(home)
    set_process_title("trainerd control")
    sys.exit(run_control(place, settings))


@cli.command()
@_HOME_OPTION
def worker(home: str | None) -> None:
    """The warm process that starts, watches and reaps trainers."""
    from trainerd.worker.process import run_worker

    place, settings = _prepare(home)
    set_process_title("trainerd worker")
    sys.exit(run_worker(place, settings))


@cli.command()
@_HOME_OPTION
def rebuild(home: str | None) -> None:
    """Make the state anew from the command log and the run directories; the old one is kept beside it.

    Only while no daemon is up: one that is up does so by itself when it finds its state lost or damaged.
    """
    from trainerd.contracts.settings import read_settings
    from trainerd.supervisor.rebuild import rebuild_state

    place = daemon_home(os.environ, home)
    with _naming_place(place):
        settings = read_settings(settings_file(os.environ, place))
        rebuilt = rebuild_state(place, settings) if place.path.is_dir() else None
    if rebuilt is None:
        _say(f"nothing to rebuild: no order was ever given on {place.path}")
        return
    states = ", ".join(f"{count} {state}" for state, count in rebuilt.runs.items())
    _say(f"rebuilt {place.state} from {rebuilt.commands} orders: {states or 'no run'}")
    if rebuilt.kept:
        _say(f"the state before is kept as {rebuilt.kept}")


@cli.command()
@_FILE_ARGUMENT
@_OVERRIDES_ARGUMENT
@click.option(
    "--run-dir", type=click.Path(path_type=Path, file_okay=False), help="Default: the next free ./runs/NAME-N."
)
@_ACCEPT_OPTION
def train(file: Path, overrides: tuple[str, ...], run_dir: Path | None, accept_changed_data: bool) -> None:
    """Train FILE in the foreground, without a daemon. Ctrl+C saves a checkpoint at the next step and exits 75.

    In a directory that holds a checkpoint the run goes on, and what has changed in FILE since is told.
    """
    from trainerd.worker.foreground import train_in_foreground

    _warn_root()
    sys.exit(train_in_foreground(file, overrides, run_dir, _say, accept_changed_data=accept_changed_data))


@cli.group()
def inspect() -> None:
    """Look at a configuration without a daemon; JSON on standard output."""


@inspect.command()
@_FILE_ARGUMENT
@_OVERRIDES_ARGUMENT
@click.option("--run-dir", type=click.Path(path_type=Path, file_okay=False), help="Compare with the run that is there.")
@_ACCEPT_OPTION
def check(file: Path, overrides: tuple[str, ...], run_dir: Path | None, accept_changed_data: bool) -> None:
    """Everything that admission checks, without queueing. Exits 78 where FILE would be refused."""
    with _answer_on_stdout() as answer:
        from trainerd.worker.foreground import read_request
        from trainerd.worker.inspector import inspect as inspect_configuration

        request = read_request(file, overrides, run_dir, accept_changed_data)
        inspected = inspect_configuration(request, daemon_home(os.environ).path)
        _write_json(asdict(inspected), answer)
    sys.exit(ExitCode.REFUSED if inspected.findings else ExitCode.DONE)


@inspect.command()
@_FILE_ARGUMENT
@_OVERRIDES_ARGUMENT
def show(file: Path, overrides: tuple[str, ...]) -> None:
    """The resolved configuration, with the place that each value comes from."""
    from trainerd.config import compose, spec_to_yaml

    composed = compose(file, None, overrides)
    spec = composed.spec.model_dump(mode="json")
    _write_json({"spec": spec, "yaml": spec_to_yaml(composed.spec), "origins": dict(composed.origins)}, sys.stdout)


@inspect.command()
def schema() -> None:
    """The JSON Schema of configurations, for editors."""
    from trainerd.config import json_schema

    _write_json(json_schema(), sys.stdout)


def _prepare(home: str | None) -> tuple[Home, Settings]:
    """The home, made if it is not there and nobody else's to read, and the settings that hold in it.

    Raises DiskError where no home can be there, or it is not ours to use.
    """
    from trainerd.contracts.settings import read_settings

    place = daemon_home(os.environ, home)
    with _naming_place(place):
        place.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.runs.mkdir(mode=0o700, exist_ok=True)
        settings = read_settings(settings_file(os.environ, place))
    form = f"%(asctime)s {click.get_current_context().info_name} %(levelname)s %(message)s"
    logging.basicConfig(level=settings.log_level.upper(), format=form, stream=sys.stderr)
    return place, settings


@contextmanager
def _naming_place(home: Home) -> Iterator[None]:
    """Turns an OSError, while the home is looked at for the first time, into one line: a mistyped place is no bug."""
    try:
        yield
    except OSError as error:
        raise DiskError(error.strerror or str(error), str(error.filename or home.path)) from error


def _warn_root() -> None:
    if os.getuid() == 0:
        _say("warning: running as root; training code will have root's rights")


def _say_ready(home: Home) -> None:
    _say(f"ready: {home.control_socket}")


def _say(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def _answer_on_stdout() -> Iterator[TextIO]:
    """Standard output for the answer alone: what user code prints meanwhile goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        yield answer


def _write_json(document: dict[str, Any], stream: TextIO) -> None:
    json.dump(document, stream)
    stream.write("\n")


if __name__ == "__main__":
    main()
