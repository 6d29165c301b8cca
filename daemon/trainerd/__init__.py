"""trainerd: a daemon that owns training runs. Importing it loads nothing else."""

__version__ = "0.1.0"
