"""Checkpoints: what is in one (`snapshot`), how it gets to disk whole (`commit`) while training goes on (`writer`), how
it is trusted again (`verify`), which ones stay (`retention`), and when one is taken (`keeper`)."""
