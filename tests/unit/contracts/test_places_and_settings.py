"""Where a daemon and a client look for things, and what may stand in trainerd.toml."""

from pathlib import Path

import pytest

from trainerd.contracts.errors import SpecificationRefused
from trainerd.contracts.places import client_sockets, daemon_home
from trainerd.contracts.settings import Settings, read_settings


def test_a_chosen_home_has_its_socket_inside() -> None:
    home = daemon_home({"XDG_RUNTIME_DIR": "/run/user/7"}, "/data/trainerd")
    assert home.control_socket == Path("/data/trainerd/control.sock")


def test_the_users_default_socket_is_in_the_runtime_directory() -> None:
    home = daemon_home({"XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/home/u/.local/state"})
    assert home.path == Path("/home/u/.local/state/trainerd")
    assert home.control_socket == Path("/run/user/7/trainerd/control.sock")


@pytest.mark.parametrize(
    ("environment", "socket", "expected"),
    [
        ({"TRAINERD_SOCKET": "/a.sock", "TRAINERD_HOME": "/h"}, "/b.sock", ["/b.sock"]),
        ({"TRAINERD_SOCKET": "/a.sock", "TRAINERD_HOME": "/h"}, None, ["/a.sock"]),
        ({"TRAINERD_HOME": "/h"}, None, ["/h/control.sock"]),
        ({"XDG_RUNTIME_DIR": "/r"}, None, ["/r/trainerd/control.sock", "/run/trainerd/control.sock"]),
    ],
)
def test_a_client_looks_where_it_is_told_first(
    environment: dict[str, str], socket: str | None, expected: list[str]
) -> None:
    assert [str(path) for path in client_sockets(environment, socket)] == expected


def test_a_missing_settings_file_means_the_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "trainerd.toml") == Settings()


def test_every_problem_of_a_settings_file_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "trainerd.toml"
    path.write_text('slot = 2\nslots = 0\nlog_level = "loud"\nhang_seconds = "long"\ngpus = [0]\n')
    with pytest.raises(SpecificationRefused) as refused:
        read_settings(path)
    message = str(refused.value)
    assert "slot: unknown setting; did you mean slots?" in message
    for expectation in ("a whole number above 0", "one of debug", "a number of seconds", "a list of GPU UUIDs"):
        assert expectation in message


def test_settings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "trainerd.toml"
    path.write_text('slots = 2\ngrace_seconds = 9\ngpus = ["GPU-1"]\n')
    assert read_settings(path) == Settings(slots=2, grace_seconds=9, gpus=("GPU-1",))
