"""The daemon without systemd: `trainerd up` keeps supervisor, control plane and worker host alive, `down` ends it.

`daemon` is the process that starts, restarts and stops the three; `part` is one of them; `last_daemon` waits for those
of a daemon that was killed; `readiness` asks whether orders are accepted; `detach` puts the daemon into the
background; `down` ends it from outside. Loads no torch.
"""
