"""The two SQLite files: what people asked for (`command_log`) and what became of it (`state`).

Each file has exactly one writing connection, guarded by a lock that is taken before it is opened; everybody else reads
(`mode=ro`). Serves the control plane and the supervisor only, and imports nothing but contracts.
"""
