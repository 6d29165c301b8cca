"""What may be shown on a terminal, and where: data on stdout, messages on stderr.

Names, logs and error messages come from other people's files: on a terminal their control characters are escaped, so
that showing a run can neither move the cursor nor forge a line. Off a terminal every byte passes unchanged.
"""

from __future__ import annotations

import sys
from typing import TextIO

_KEPT = "\n\t"
_BIDIRECTIONAL = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # they reorder what is read
_CONTROL = [*range(0x20), *range(0x7F, 0xA0), *_BIDIRECTIONAL]
_ESCAPES = {code: ascii(chr(code))[1:-1] for code in _CONTROL if chr(code) not in _KEPT}


def write(text: str) -> None:
    """Write one piece of data, with its newline, on stdout."""
    sys.stdout.write(shown(text, sys.stdout) + "\n")


def say(text: str) -> None:
    """Tell the person something, on stderr."""
    sys.stderr.write(shown(text, sys.stderr) + "\n")
    sys.stderr.flush()


def shown(text: str, stream: TextIO) -> str:
    """`text` as it may go to `stream`."""
    return escaped(text) if stream.isatty() else text


def escaped(text: str) -> str:
    """`text` with every control character but newline and tab written out; a progress bar's returns become newlines."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_ESCAPES)
