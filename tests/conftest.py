"""What every test may count on, from whatever shell the suite was started."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Ctrl+C and a hang-up mean what they say: a shell may ignore them (`&`, nohup), and what tests start inherits it.

    A handler, not the default: it is gone after exec, and the suite itself goes on as its shell wanted.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
