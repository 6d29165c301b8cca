"""trainctl: the thin client of trainerd. Importing it loads nothing else."""
