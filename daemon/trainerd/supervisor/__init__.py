"""The supervisor owns the queue, the resources and the state of every run. It never imports torch, numpy or pydantic.

`loop` is its one duty after the other. `apply`, `fold`, `scheduling`, `retry` and `agreement` decide, as pure functions
of records. All the others touch the world: the state, the run directories, the worker host, signals.
"""
