"""The training loop and everything that it is made of. Runs in a trainer process only; imports torch.

`trainer` is the entry, `loop` the sentence, `run` the things that the sentence speaks of.
"""
