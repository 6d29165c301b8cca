"""The worker host: a warm process that forks, watches and reaps trainers and inspectors.

`process` is its entry, `host` its loop, `trainers` and `inspections` what it watches over, `trainer_process` and
`inspector_process` what its children do, `ending` what it writes down when a trainer has ended. The same parts without
a daemon are `foreground` (trainerd train) and `inspector` (trainerd inspect).
"""
