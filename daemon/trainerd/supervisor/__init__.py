"""The supervisor owns the queue, the resources and the state of every run. It never imports torch, numpy or pydantic.

`loop` is its one duty after the other. Decisions are pure functions of records: what a command does (`apply`, with
`admitting`, `going_on` and `queue_order`), what a journal tells (`fold`, with `attempt_end` and `retry`), what starts
(`scheduling`), and what differs from the worker host (`agreement`). All the others touch the world: the state, the run
directories, the worker host, signals.
"""
