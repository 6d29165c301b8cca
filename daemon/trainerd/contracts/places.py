"""Where things are: the home of a daemon, its sockets, its files; and how a client finds a daemon.

Environment variables override everything; see "Places" in docs/operations.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SYSTEM_HOME = Path("/var/lib/trainerd")
SYSTEM_SOCKET = Path("/run/trainerd/control.sock")
SYSTEM_SETTINGS = Path("/etc/trainerd/trainerd.toml")


@dataclass(frozen=True)
class Home:
    """The directory that holds one daemon's whole state, and the names of everything in it."""

    path: Path
    control_socket: Path

    @property
    def command_log(self) -> Path:
        return self.path / "commands.sqlite"

    @property
    def state(self) -> Path:
        return self.path / "state.sqlite"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def worker_socket(self) -> Path:
        return self.path / "worker.sock"

    @property
    def wake_socket(self) -> Path:
        """Where the supervisor hears that the command log has grown (datagrams; their content means nothing)."""
        return self.path / "wake.sock"

    @property
    def changed_socket(self) -> Path:
        """Where the control plane hears that the state has changed (datagrams; their content means nothing)."""
        return self.path / "changed.sock"

    def lock(self, process: str) -> Path:
        """The file that `process` (supervisor, control, worker, up) holds locked while it lives."""
        return self.path / f"{process}.lock"

    def run(self, run_id: int) -> Path:
        return self.runs / str(run_id)


def user_home(environment: Mapping[str, str]) -> Path:
    state_home = environment.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state_home) / "trainerd"


def user_socket(environment: Mapping[str, str]) -> Path:
    """The user's control socket: in XDG_RUNTIME_DIR, or in the user's home of trainerd where there is none."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "trainerd/control.sock" if runtime else user_home(environment) / "control.sock"


def daemon_home(environment: Mapping[str, str], home: str | None = None) -> Home:
    """The home of a daemon that is being started, from `--home`, TRAINERD_HOME or the user's default."""
    chosen = home or environment.get("TRAINERD_HOME")
    path = Path(chosen).absolute() if chosen else user_home(environment)
    default_socket = path / "control.sock" if chosen else user_socket(environment)
    return Home(path, Path(environment.get("TRAINERD_SOCKET") or default_socket).absolute())


def client_sockets(environment: Mapping[str, str], socket: str | None = None) -> list[Path]:
    """The control sockets that a client tries, in this order; explicit ones stand alone."""
    if socket:
        return [Path(socket)]
    if environment.get("TRAINERD_SOCKET"):
        return [Path(environment["TRAINERD_SOCKET"])]
    if environment.get("TRAINERD_HOME"):
        return [Path(environment["TRAINERD_HOME"]) / "control.sock"]
    return [user_socket(environment), SYSTEM_SOCKET]


def settings_file(environment: Mapping[str, str], home: Home) -> Path:
    """Where trainerd.toml is looked for: in the home, else the user's place, else the system's."""
    config_home = environment.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    places = [home.path / "trainerd.toml", Path(config_home) / "trainerd/trainerd.toml", SYSTEM_SETTINGS]
    return next((place for place in places if place.exists()), places[0])
