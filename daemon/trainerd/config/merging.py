"""Which value wins when one tree is laid over another. Pure.

Mappings merge key by key, lists and scalars are replaced. Arguments belong to what they are arguments of:

- where the upper tree names another component (another `name`, another `target`, or one instead of the other), the
  lower `name`, `target` and `args` go;
- where it gives another `data.kind`, the lower data section goes as a whole.

What is lost that way without being given anew is a warning, never silent.
"""

from __future__ import annotations

from dataclasses import replace

from trainerd.config.tree import Entry, Mapping, Place
from trainerd.contracts.errors import Finding

COMPONENTS = ("model", "loss", "optimizer", "schedule")


def lay_over(base: Mapping, over: Mapping) -> tuple[Mapping, list[Finding]]:
    """`over` on top of `base`, both whole configurations, and warnings of what was dropped."""
    kept = base
    warnings: list[Finding] = []
    for key in over.entries:
        below, above = base.mapping(key), over.mapping(key)
        if below is None or above is None or above.is_whole:
            continue
        dropped = _outdated_keys(key, below, above)
        if not dropped:
            continue
        warnings += _warnings_of_loss(key, below, above, dropped)
        rest = below.without(*dropped)
        kept = kept.with_entry(key, replace(base.entries[key], node=rest)) if rest.entries else kept.without(key)
    return merge(kept, over), warnings


def merge(base: Mapping, over: Mapping) -> Mapping:
    """`over` on top of `base`, key by key, in the order of `base`.

    What both give stands where `over` gives it; but a section that overrides only change still stands in its file:
    there something that it lacks has to be written.
    """
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        below, above = base.mapping(key), over.mapping(key)
        if below is None or above is None or above.is_whole:
            entries[key] = entry
        else:
            entries[key] = Entry(_nearer_file(base.entries[key].place, entry.place), merge(below, above))
    return Mapping(entries, _nearer_file(base.place, over.place), base.is_whole or over.is_whole)


def _nearer_file(below: Place, above: Place) -> Place:
    return above if above.source.has_lines else below


def _outdated_keys(section: str, below: Mapping, above: Mapping) -> list[str]:
    """The keys of `below` that no longer mean anything under what `above` says."""
    if section == "data":
        return list(below.entries) if _differs(below, above, "kind") else []
    if section in COMPONENTS and (_differs(below, above, "name") or _differs(below, above, "target")):
        return [key for key in ("name", "target", "args") if key in below.entries]
    return []


def _differs(below: Mapping, above: Mapping, key: str) -> bool:
    """Whether `above` gives `key` another value than `below` has. A null gives nothing."""
    now, before = above.scalar(key), below.scalar(key)
    return now is not None and now.value is not None and (before is None or before.value != now.value)


def _warnings_of_loss(section: str, below: Mapping, above: Mapping, dropped: list[str]) -> list[Finding]:
    """A warning of the dropped values that `above` does not give anew."""
    lost = [key for key in dropped if key not in above.entries and key not in ("kind", "name", "target")]
    lost = [key for key in lost if key != "args" or _has_entries(below.mapping(key))]
    if not lost:
        return []
    another = "kind of data" if section == "data" else section
    names = ", ".join(f"{section}.{key}" for key in lost)
    message = f"another {another} is chosen here, so {names} of {below.place} no longer count"
    return [above.place.finding(message, section)]


def _has_entries(mapping: Mapping | None) -> bool:
    return mapping is not None and bool(mapping.entries)
