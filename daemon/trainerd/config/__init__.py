"""Configurations: from YAML to a resolved RunSpec, or to all that is wrong with it, each problem with its place.

    document    YAML text -> a tree in which every value knows its place  (scalars: what a plain word means)
    overrides   `optimizer.lr=1e-3` on the command line -> the same kind of tree
    layers      a file, the files that it extends and the overrides -> one tree  (merging: which value wins)
    rules       what the tree says about the world: does the data file exist
    explain     pydantic's errors -> findings in plain words                   (expectations: what a key may hold)
    origins     resolved key -> who said so
    saved       RunSpec -> spec.yaml and back, quickly
    schema, reference   for editors and for people; `python -m trainerd.config` writes both

Reads files, writes none (but for `python -m`). Knows nothing of torch, of registered names, of what a data file holds.
"""

from trainerd.config.composition import Composed, compose
from trainerd.config.reference import configuration_markdown
from trainerd.config.saved import read_spec, spec_to_yaml
from trainerd.config.schema import json_schema

__all__ = ["Composed", "compose", "configuration_markdown", "json_schema", "read_spec", "spec_to_yaml"]
