"""What a data set must look like to hold a field, and where it may lie: in this very file. Reads metadata only.

Links into other files, external storage and virtual data sets are refused: the fingerprint would not cover them, and a
configuration must not open files that it does not name.
"""

from __future__ import annotations

from collections.abc import Iterator

import h5py

from trainerd.contracts.errors import Finding
from trainerd.data.data_file import missing_key, nearest, show_shape
from trainerd.data.source import FieldSchema

# h5py raises any of these for a damaged file, depending on the part of HDF5 that finds the damage, and TypeError for a
# stored type that numpy has no name for.
BROKEN_FILE_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)

_SOFT_LINKS_AT_MOST = 32  # in one path: they may form a circle

_KEYS_NAMED = 8  # of those that a file has, in a message about one that it has not


class UnusableKey(Exception):
    """A key does not lead to a data set in this file; `str()` says why."""

    def __init__(self, why: str, suggestion: str | None = None) -> None:
        super().__init__(why)
        self.suggestion = suggestion


def find_contradictions(file: h5py.File, path: str, field: FieldSchema) -> list[Finding]:
    """Everything in which the data set of `field` is not what the field declares."""
    if field.key is None:
        return [missing_key(field, path, "data set")]
    try:
        data_set = find_data_set(file, field.key)
        return [
            *_place_problems(data_set, path, field),
            *_type_problems(data_set, path, field),
            *_shape_problems(data_set, path, field),
        ]
    except UnusableKey as error:
        expected = _name_data_sets(file)
        return [field.finding(f"{field.key}: {error}", path, "key", expected=expected, suggestion=error.suggestion)]
    except BROKEN_FILE_ERRORS as error:
        return [field.finding(f"the data set cannot be read: {error}", path, "key", found=field.key)]


def find_data_set(file: h5py.File, key: str) -> h5py.Dataset:
    """The data set at `key`. Raises UnusableKey where there is none, or it lies outside the file."""
    found = file[_follow_links(file, key)]
    if not isinstance(found, h5py.Dataset):
        raise UnusableKey("this is a group, not a data set", nearest(key, _list_data_sets(file)))
    return found


def _follow_links(file: h5py.File, key: str) -> str:
    """The path of hard links that `key` stands for; h5py would follow a link into another file without a word."""
    place, pending, soft_links = "", _split(key), 0
    while pending:
        step = f"{place}/{pending.pop(0)}"
        link = file.get(step, getlink=True)
        if link is None:
            raise UnusableKey("there is no such data set", nearest(key, _list_data_sets(file)))
        if isinstance(link, h5py.HardLink):
            place = step
            continue
        if not isinstance(link, h5py.SoftLink):
            raise UnusableKey("a link into another file is not followed")
        soft_links += 1
        if soft_links > _SOFT_LINKS_AT_MOST:
            raise UnusableKey("its links form a circle")
        place, pending = ("" if link.path.startswith("/") else place), _split(link.path) + pending
    return place or "/"


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _name_data_sets(file: h5py.File) -> str | None:
    """The first data sets of the file, in words; None where there are none, or the file is too broken to tell."""
    try:
        names = _list_data_sets(file)
    except BROKEN_FILE_ERRORS:
        return None
    more = f" and {len(names) - _KEYS_NAMED} more" if len(names) > _KEYS_NAMED else ""
    return f"one of {', '.join(names[:_KEYS_NAMED])}{more}" if names else None


def _list_data_sets(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _place_problems(data_set: h5py.Dataset, path: str, field: FieldSchema) -> Iterator[Finding]:
    if data_set.external:
        yield field.finding("values in an external file are not read", path, "key", found=field.key)
    if data_set.is_virtual:
        yield field.finding(
            "a virtual data set, with values in other data sets, is not read", path, "key", found=field.key
        )
    properties = data_set.id.get_create_plist()
    filters = (properties.get_filter(number) for number in range(properties.get_nfilters()))
    for code, _flags, _values, name in filters:
        if not h5py.h5z.filter_avail(code):
            found = f"{name.decode(errors='replace')} (filter {code})"
            yield field.finding("compressed with a filter that is not installed", path, "key", found=found)


def _type_problems(data_set: h5py.Dataset, path: str, field: FieldSchema) -> Iterator[Finding]:
    special = _name_special_type(data_set)
    if special:
        message = f"{special} cannot be a tensor"
        yield field.finding(message, path, "dtype", expected=field.dtype_name, found=special)
    elif data_set.dtype.name != field.dtype_name:  # names leave out the byte order
        message = f"the dtype of {field.key} is another one"
        yield field.finding(message, path, "dtype", expected=field.dtype_name, found=data_set.dtype.name)


def _name_special_type(data_set: h5py.Dataset) -> str | None:
    """What the stored type is called if its elements are not plain numbers."""
    dtype = data_set.dtype
    if h5py.check_string_dtype(dtype):
        return "strings"
    if h5py.check_vlen_dtype(dtype):
        return f"a variable-length type of {h5py.check_vlen_dtype(dtype)}"
    if h5py.check_ref_dtype(dtype):
        return "references"
    if dtype.names:
        return f"a compound type with the members {', '.join(dtype.names)}"
    if dtype.subdtype:
        return f"an array type of {dtype.subdtype[0]}"
    return None


def _shape_problems(data_set: h5py.Dataset, path: str, field: FieldSchema) -> Iterator[Finding]:
    if not data_set.shape:
        found = "an empty data set" if data_set.shape is None else "a scalar"
        yield field.finding(
            f"{field.key} has no axis of samples", path, "shape", expected="samples along the first axis", found=found
        )
        return
    samples, *shape = data_set.shape
    if tuple(shape) != field.shape:
        message = f"the samples of {field.key} have another shape"
        expected, found = show_shape(field.shape), show_shape(tuple(shape))
        yield field.finding(
            message, path, "shape", expected=f"shape {expected}", found=f"{found} in each of {samples} samples"
        )
    if samples == 0:
        yield field.finding(f"{field.key} holds no samples", path, "key", expected="at least 1", found="0")
