"""Reads a JSON file of any tool; an error says in one sentence what the file is instead."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from . import problem_kinds as kinds
from .problems import OnProblem, Problem, shown

# For other keys it does not matter which of two values is used.
_ROWS = {"images", "annotations", "categories", "id", "image_id", "category_id", "name", "supercategory"}
_FIELDS = {"segmentation", "size", "counts", "iscrowd", "area", "bbox", "file_name", "width", "height"}
_READ_KEYS = _ROWS | _FIELDS
# A key with space before its colon, which `_has_every_key` would not count.
_SPACED_KEY = re.compile(rb'"\s+:')
_GZIP = b"\x1f\x8b"
_LFS = b"version https://git-lfs"


def load(path: Path, on_problem: OnProblem) -> Any:
    """The JSON document of `path` (UTF-8, -16 or -32, with or without a byte order mark); None if it has none.

    An object with one key twice, with two values, is an error: `json` would silently use the last.
    """
    try:
        data = path.read_bytes()
        what = _something_else(data)
        if what:
            on_problem(Problem(kinds.NOT_JSON, what, path))
            return None
        # Checking every object for a key twice takes longer than reading it, and most files need not be checked.
        document = _parsed(data)
        if _has_every_key(document, data):
            return document
        del document
        return json.loads(data, object_pairs_hook=_object)
    except OSError as error:
        on_problem(Problem(kinds.NOT_JSON, f"the file cannot be read ({error.strerror})", path))
    except RecursionError:
        on_problem(Problem(kinds.NOT_JSON, "the file is nested too deep for a COCO file", path))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        said = f"the file has the byte 0x{error.object[error.start]:02X}, which is not {error.encoding.upper()} text"
        on_problem(Problem(kinds.NOT_JSON, said, path, line=line))
    except ValueError as error:  # bad JSON, a key twice, an integer of thousands of digits
        on_problem(Problem(kinds.NOT_JSON, f"the file is not JSON ({error})", path))
    return None


def _parsed(data: bytes) -> Any:
    """`json.loads(data)`, by pydantic's parser, which takes two thirds of the time, and gives the same or refuses."""
    try:
        return from_json(data, cache_strings="keys")
    except ValueError:  # other encodings, deep nesting, half a surrogate pair; or an error, which `json` tells better
        return json.loads(data)


def _something_else(data: bytes) -> str | None:
    """What a file is that does not look like JSON at all."""
    if not data.strip():
        return "the file is empty"
    if data.startswith(_GZIP):
        return "the file is compressed by gzip: unpack it"
    if data.startswith(_LFS):
        return "the file is a pointer of Git LFS and not the file itself: run `git lfs pull`"
    if data.lstrip()[:1] == b"<":
        return "the file is a page of HTML or XML, and not JSON"
    return None


def _has_every_key(document: Any, data: bytes) -> bool:
    """Whether the objects of a COCO document have as many keys as there are in the file, so that none is there twice.

    False if it is not known: only the keys of the document, of its rows and of their masks are counted.
    """
    if not isinstance(document, (dict, list)) or b"\0" in data or _SPACED_KEY.search(data):
        return False
    lists = [document] if isinstance(document, list) else list(document.values())
    rows = [row for value in lists for row in (value if type(value) is list else [value]) if type(row) is dict]
    masks = [mask for row in rows if type(mask := row.get("segmentation")) is dict]
    count = len(document) if isinstance(document, dict) else 0
    count += sum(map(len, rows)) + sum(map(len, masks))
    count += sum(type(text := mask.get("counts")) is str and text[:1] == ":" for mask in masks)
    # A quote and a colon are the end of a key, or the start of text that begins with a colon. Such text that was not
    # counted only makes this number larger, as does a key that is there twice.
    return data.count(b'":') == count


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if key in _READ_KEYS and found[key] != value:
                row = f" (id {shown(found['id'])})" if "id" in found else ""
                raise ValueError(f"an object{row} has the key `{key}` twice, with two values: remove the wrong one")
    return found
