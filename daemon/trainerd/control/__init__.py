"""The control plane: takes orders over the control socket, writes them down, and shows what has become of them.

A FastAPI app under uvicorn on one Unix socket. It is the only writer of the command log, reads the state and the run
directories, and asks the worker host to check configurations. It never decides what happens to a run (the supervisor
does), never opens user data, and never imports torch.

A request passes `peer` (who called) and `access` (may they), reaches a route in `routes`, and comes back as a view
(`views`), a stream (`streams`) or a problem (`problems`).
"""
