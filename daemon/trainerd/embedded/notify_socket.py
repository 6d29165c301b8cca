"""Where the parts of an embedded daemon say that they live: its NOTIFY_SOCKET, as systemd has one (sd_notify(3))."""

from __future__ import annotations

import os
import secrets
import socket
import struct
from dataclasses import dataclass

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid (unix(7), SCM_CREDENTIALS)
_LONGEST_MESSAGE = 4096


@dataclass(frozen=True)
class Notice:
    """One message, and the process that the kernel says it is from."""

    pid: int
    fields: dict[str, str]

    @property
    def is_sign_of_life(self) -> bool:
        return self.fields.get("WATCHDOG") == "1"

    @property
    def more_seconds(self) -> float | None:
        """The time that an end which makes progress asks for, from now on; None where it asks for none."""
        microseconds = self.fields.get("EXTEND_TIMEOUT_USEC", "")
        return int(microseconds) / 1e6 if microseconds.isdigit() else None


class NotifySocket:
    """An abstract socket with a name that nobody can guess; whoever knows it still is who the kernel says."""

    def __init__(self) -> None:
        self.name = f"@trainerd-{os.getpid()}-{secrets.token_hex(8)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + self.name[1:])

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[Notice]:
        """All that has been said; never waits."""
        notices = []
        while (notice := self._receive_one()) is not None:
            notices.append(notice)
        return notices

    def _receive_one(self) -> Notice | None:
        try:
            message, ancillary, _, _ = self._socket.recvmsg(_LONGEST_MESSAGE, socket.CMSG_SPACE(_CREDENTIALS.size))
        except BlockingIOError:
            return None
        lines = message.decode(errors="replace").splitlines()
        fields = dict(line.split("=", 1) for line in lines if "=" in line)
        return Notice(_sender(ancillary), fields)

    def close(self) -> None:
        self._socket.close()


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return int(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
    return 0
