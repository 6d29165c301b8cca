"""The figures of docs/performance.md.

`python -m benchmarks [NAME...]` takes them. A machine's mood changes from minute to minute, so nothing is compared with
a number from another run: each figure is a ratio of medians of things measured side by side, in turns, in this run.
"""
