"""The label store: the answers of bases, append-only, so that a base never runs twice on an image.

A store is a folder of Parquet shards, one row an image: the image's record, every instance as RLE with its score and
the index of the prompt that found it, and what made them (base, parameters, prompts, versions). A shard is written
beside its place and renamed into it, so that a kill loses at most the rows not yet flushed and leaves no half shard.
Thresholds are applied later, at build; classes too: a row knows prompts, so renaming a class costs no labeling.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError
from ..core.masks import MAX_SIDE
from ..system.file_hash import file_sha256
from ..system.files import replacing
from ..system.read_ahead import work_ahead
from .stored_labels import Key, Provenance, StoredLabels, from_row, row_schema, to_row

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

ROWS_PER_SHARD = 128
SECONDS_PER_SHARD = 20.0
_CACHED_SHARDS = 8
_READ_AHEAD = 4  # shards
_DIGEST = 16  # hex digits of a shard's SHA-256 in its name
# What made a row: not wanted where the row is.
_PROVENANCE = {"base_args", "base_fingerprint", "versions"}


class LabelStore:
    """The shards in `folder`. One writer at a time; readers may come and go.

    Use it as a context manager: leaving the block flushes, also after an exception.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: list[dict[str, Any]] = []
        self._since = 0.0
        self._cache: OrderedDict[str, tuple[list[dict[str, Any]], pa.ListArray, pa.Array]] = OrderedDict()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def append(self, labels: StoredLabels, provenance: Provenance) -> None:
        """Adds one row; it is on disk after `flush`, which happens by itself after `ROWS_PER_SHARD` rows or
        `SECONDS_PER_SHARD` seconds.
        """
        if not self._rows:
            self._since = time.monotonic()
        self._rows.append(to_row(labels, provenance))
        if len(self._rows) >= ROWS_PER_SHARD or time.monotonic() - self._since >= SECONDS_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        """Writes what was added since the last time as a shard of its own."""
        if not self._rows:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pylist(self._rows, schema=row_schema())
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        data = sink.getvalue().to_pybytes()
        # Above any that is there, so that it sorts as the newest even where one has been put aside.
        number = 1 + max((int(name.split("-")[1]) for name in self._shards()), default=-1)
        # Parquet's checksums cover the pages, not the headers between them.
        digest = hashlib.sha256(data).hexdigest()[:_DIGEST]
        with replacing(self.folder / f"part-{number:06d}-{digest}.parquet") as temporary:
            temporary.write_bytes(data)
        self._rows = []

    def keys(self, base_fingerprint: str, *, heal: bool = False) -> dict[str, Key]:
        """The newest row of each relative path that this base made: path → key; as `rows`."""
        return {key.path: key for key in self.rows(base_fingerprint, heal=heal)}

    def rows(self, base_fingerprint: str, *, heal: bool = False, known: set[str] | None = None) -> Iterator[Key]:
        """Every row that this base made, the newest last. Reads no instance. Shards named in `known` are left out, and
        the others added to it.

        A row of an image with a side of more than `MAX_SIDE` is left out: no COCO file can contain it.
        A damaged shard is found by its checksum. With `heal` it is renamed (`.torn`), so that its images count as not
        labeled.

        Raises:
            DataError: a shard is damaged, and `heal` is not set; it is named.
        """
        columns = [
            "base_fingerprint",
            "image_id",
            "path",
            "file_bytes",
            "mtime_ns",
            "sha256",
            "phash",
            "height",
            "width",
        ]
        known = set() if known is None else known
        shards = [self.folder / name for name in self._shards() if name not in known]
        known.update(shard.name for shard in shards)
        # Where it may be healed, damage anywhere in it counts.
        reading = work_ahead(shards, lambda shard: self._read(shard, columns, whole=heal), _READ_AHEAD)
        with contextlib.closing(reading):
            for shard, table in reading:
                try:
                    yield from self._keys_of(shard, table.result(), base_fingerprint, columns)
                except DataError as error:
                    if not heal:
                        raise
                    _log.warning("%s It is set aside, and its images are labeled again.", error.message)
                    shard.rename(shard.with_suffix(".torn"))

    @staticmethod
    def _keys_of(shard: Path, table: pa.Table, base_fingerprint: str, columns: Sequence[str]) -> Iterator[Key]:
        """The keys of the rows in a shard that this base made."""
        # Column by column, which takes less time than rows as dictionaries.
        values = [table.column(name).to_pylist() for name in columns]
        for row, (made_by, image_id, path, size, mtime_ns, sha256, phash, height, width) in enumerate(
            zip(*values, strict=True)
        ):
            if made_by == base_fingerprint and max(height, width) <= MAX_SIDE:
                yield Key(image_id, path, size, mtime_ns, sha256, phash, height, width, shard.name, row)

    def read(self, key: Key) -> StoredLabels:
        """The row that `key` names. Keys in path order read each shard about once."""
        rows, instances, _ = self._shard(key.shard)
        return from_row({**rows[key.row], "instances": instances[key.row].as_py()})

    def versions(self, key: Key) -> dict[str, str]:
        """The versions that made the row that `key` names; they may be others than today's."""
        found: dict[str, str] = json.loads(self._shard(key.shard)[2][key.row].as_py())
        return found

    def _shards(self) -> list[str]:
        """The names of the shards in order; a pattern of paths takes ten times as long, and each flush asks."""
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as found:
            return sorted(one.name for one in found if one.name.startswith("part-") and one.name.endswith(".parquet"))

    def _shard(self, name: str) -> tuple[list[dict[str, Any]], pa.ListArray, pa.Array]:
        """A shard's rows, less their instances and versions, which stay packed: there may be hundreds an image."""
        if name not in self._cache:
            columns = [column for column in row_schema().names if column not in _PROVENANCE]
            table = self._read(self.folder / name, [*columns, "versions"], whole=True)
            packed = [table.column(column).combine_chunks() for column in ("instances", "versions")]
            self._cache[name] = table.drop_columns(["instances", "versions"]).to_pylist(), *packed
            if len(self._cache) > _CACHED_SHARDS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(name)
        return self._cache[name]

    def read_all(self, keys: Mapping[str, Key]) -> Iterator[StoredLabels]:
        """The rows of `keys`, in the order of their paths, a few shards in memory at a time."""
        for path in sorted(keys):
            yield self.read(keys[path])

    def _read(self, shard: Path, columns: list[str], *, whole: bool) -> pa.Table:
        """Some columns of a shard; `whole` looks at all of it first, else damage to the others goes unnoticed."""
        import pyarrow.parquet as pq

        hint = "Run `label --resume`: it is set aside, and only its images are labeled again."
        digest = shard.stem.rpartition("-")[2]
        if whole and len(digest) == _DIGEST and not file_sha256(shard).startswith(digest):
            raise DataError(f"The label shard {shard} is damaged: it is not what was written.", hint)
        try:
            return pq.read_table(shard, columns=columns, page_checksum_verification=True)
        except Exception as error:  # of a damaged header pyarrow may say anything, down to a UnicodeDecodeError
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(f"The label shard {shard} cannot be read ({reason}).", hint) from error
