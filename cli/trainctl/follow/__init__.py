"""Watching runs until they end: a fold of what the daemon streams, two views of it, and a summary.

    progress    the fold: what is known about the run now      (pure; clock passed in)
    live_view   a small picture on a terminal                  (the only part that loads rich)
    line_view   one line per epoch and per change of state, elsewhere
    summary     what the run has come to

Nothing here gives orders: whoever watches can go away at any moment.
"""

from trainctl.follow.watch import follow_runs

__all__ = ["follow_runs"]
