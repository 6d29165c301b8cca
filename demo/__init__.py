"""The demo: real data, built here from what Python packages ship, and one run on it from start to early stopping."""
