"""`python -m benchmarks [NAME...]`: takes all figures, or the named ones; prints each with goal and parts."""

from __future__ import annotations

import argparse
import sys

from benchmarks import checkpoint, latency, loops, memory, recovery

BENCHMARKS = {
    "loop": loops.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "checkpoint": checkpoint.measure,
    "recovery": recovery.measure,
}


def main() -> int:
    """Exit code 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    are_met = True
    for name in names:
        for figure in BENCHMARKS[name]():
            print(figure, flush=True)
            are_met = are_met and figure.is_met
    return 0 if are_met else 1


if __name__ == "__main__":
    sys.exit(main())
