"""Writes files and folders so that they are never incomplete: under a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import codecs
import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..core.bucket_urls import refuse_bucket
from ..core.errors import DataError, OutputExistsError

# The errors of a full disk, an exceeded quota, and a limit on the size of a file.
NO_SPACE = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG")} - {None}
# A file is written in seconds: an incomplete one that is an hour old belongs to no running process.
_SECONDS_AT_WORK = 3600.0
# UTF-32 first: its little-endian mark starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Zero bytes in UTF-16 without a mark: half of Latin text, and a tenth at least of other scripts' paths and JSON.
_UTF_16_ZEROS = 0.1


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to it if the block succeeds, removed if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Writes indented JSON in one step; NaN and infinity are refused."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_list(path: Path, items: Iterable[Any]) -> None:
    """Writes the bytes that `write_json` writes for a list of the items, one at a time."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        between = "[\n  "
        for item in items:
            # A text has no line break of its own in JSON.
            text = json.dumps(item, indent=2, ensure_ascii=False, allow_nan=False).replace("\n", "\n  ")
            file.write(f"{between}{text}")
            between = ",\n  "
        file.write("[]\n" if between.startswith("[") else "\n]\n")


def read_json(path: Path) -> Any:
    """A JSON file's content; raises DataError if it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from error


def read_user_text(path: Path) -> str:
    """The text of a file that a person or a foreign tool wrote: lines end with `\\n` alone, no byte order mark.

    UTF-8, UTF-16 and UTF-32 are read, with a byte order mark or without; UTF-16 and UTF-32 without one are
    recognized by their zero bytes. `\\r\\n` and `\\r` become `\\n`.

    Raises:
        DataError: it cannot be read, or has another encoding; the first wrong byte and its line are named.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", _unmarked(data)))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = _plain(error.object[: error.start].decode(encoding)).count("\n") + 1
        bad = error.object[error.start]
        said = f"{path} is not {encoding.upper()} text: line {line} has the byte 0x{bad:02X} ({error.reason})."
        hint = "Save it as UTF-8: local encodings such as Windows-1252 cannot be recognized."
        raise DataError(said, hint) from error
    text = _plain(text)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path} is not text: line {line} has a zero byte.", "Save it as UTF-8 text.")
    return text


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unmarked(data: bytes) -> str:
    """The encoding of text without a byte order mark."""
    zeros = data.count(0)
    if zeros < _UTF_16_ZEROS * len(data) or not zeros:
        return "utf-8"
    if len(data) % 4 == 0 and 2 * zeros > len(data):
        # The highest of a character's four bytes is always zero, the lowest hardly ever.
        return "utf-32-le" if data[3::4].count(0) > data[::4].count(0) else "utf-32-be"
    return "utf-16-le" if data[1::2].count(0) >= data[::2].count(0) else "utf-16-be"


_FINGERPRINT_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)


def fingerprint(*parts: Any) -> str:
    """16 hex digits that identify JSON-ready content; the order of keys makes no difference."""
    return hashlib.sha256(_FINGERPRINT_JSON.encode(parts).encode()).hexdigest()[:16]


def fingerprint_of_rows(first: Any, rows: Iterable[tuple[str, Any]]) -> str:
    """`fingerprint(first, dict(rows))` of rows that are sorted by their keys, whose text is not held at once."""
    digest, before = hashlib.sha256(f"[{_FINGERPRINT_JSON.encode(first)},{{".encode()), ""
    for key, value in rows:
        digest.update(f"{before}{_FINGERPRINT_JSON.encode(key)}:{_FINGERPRINT_JSON.encode(value)}".encode())
        before = ","
    digest.update(b"}]")
    return digest.hexdigest()[:16]


def link(source: Path, target: Path) -> bool:
    """Hard-links `source` as `target`; False if the file system cannot, or does not allow it.

    Raises:
        FileExistsError: `target` exists.
    """
    try:
        # Only a link itself must be resolved, not the folders it is in: that takes a tenth of the time of a build.
        os.link(source.resolve() if source.is_symlink() else source, target)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-links `source` as `target`, or copies it if that is not possible.

    Raises:
        FileExistsError: `target` exists; it may be a link to a user's file, and is not written to.
    """
    if not link(source, target):
        with source.open("rb") as read, target.open("xb") as written:
            shutil.copyfileobj(read, written)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A new empty folder beside `folder`; it replaces it if the block succeeds, and is removed if it fails."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    for kind in ("partial", "old"):
        sweep(folder.parent, f".{folder.name}.*.{kind}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Restores `folder` if the process was killed between the two renames of `replacing_folder`; removes incomplete
    folders.

    Only for the holder of a lock: another process may be writing.
    """
    name = glob.escape(folder.name)
    for old in sorted(folder.parent.glob(f".{name}.*.old")):
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(folder)
    for half in folder.parent.glob(f".{name}.*.partial"):
        shutil.rmtree(half, ignore_errors=True)


def sweep(folder: Path, pattern: str = ".*.partial", *, alone: bool = True) -> None:
    """Removes what killed processes left incomplete in `folder`: hidden files and folders whose process has ended, and
    files older than an hour.

    Not `alone`, other machines may be writing too, and a process's number means nothing: then only the latter.
    """
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # another may sweep too
            old = path.is_file() and time.time() - path.stat().st_mtime >= _SECONDS_AT_WORK
            if old or (alone and _is_gone(path.name.split(".")[-2])):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def _is_gone(process: str) -> bool:
    """Whether there is no process of that number, or it is this one, which has written nothing yet."""
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return int(process) == os.getpid()


def check_output(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuses an output folder that already has content.

    Raises:
        OutputExistsError: it is not empty, and neither `resume` nor `overwrite` is set.
        UsageError: it is the URL of a bucket.
    """
    refuse_bucket(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"The output {folder} is a file, not a folder.", "Give another --output.")
    if folder.is_dir() and any(folder.iterdir()) and not (resume or overwrite):
        raise OutputExistsError(
            f"The output folder {folder} is not empty.",
            "Add --resume to continue, --overwrite to start over, or give another --output.",
        )


def check_apart(folder: Path, source: Path, inside: str | None = None) -> None:
    """Refuses an output folder inside the input: a folder of images, or the folder of an input file.

    `inside` is the folder in the output that will contain images; the input may not be that folder either.

    Raises:
        OutputExistsError: it is inside the input.
        UsageError: it is the URL of a bucket.
    """
    refuse_bucket(folder)
    home = (source if source.is_dir() else source.parent).resolve()
    output = folder.resolve()
    among = output == home or (source.is_dir() and home in output.parents)
    if inside is not None:
        among |= output / inside in (home, *home.parents)
    if among:
        raise OutputExistsError(
            f"The output {folder} is among the images of {source}: the output files would mix with them.",
            "Give another --output.",
        )


def claim_output(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Makes `folder`, unless `check_output` refuses it."""
    check_output(folder, resume=resume, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
