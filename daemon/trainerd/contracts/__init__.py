"""The ground floor: what every process agrees on. Imports nothing of ours.

`errors`, `states`, `places`, `run_directory`, `pages`, `json_lines`, `journal`, `messages`, `unix_sockets` and
`processes` are light (standard library only), because trainctl imports them. `spec` and `settings` import pydantic, and
trainctl never does.
"""
