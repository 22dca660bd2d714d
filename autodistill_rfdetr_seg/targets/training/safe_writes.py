"""The files that a training writes while it runs. After Ctrl-C, a kill or a full disk each is whole, as it was or as it
is to be.

Lightning and rfdetr write some of them in place, or copy them from the system's temporary folder. See `vendor`.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...system.files import replacing
from ..rfdetr_import import import_rfdetr

METRICS = "metrics.csv"
# More than is left where torch could not write on.
_PROBE = 2**20

_log = logging.getLogger(__name__)


def write_safely(trainer: Any, metrics: Path, resumes: bool) -> None:
    """Makes a Lightning trainer that rfdetr has built write its checkpoints in one step, and `metrics` in whole rows.

    With `resumes`, the rows that `metrics` has stay, but for those of epochs that are trained again.
    """
    from pytorch_lightning.loggers import CSVLogger

    trainer.strategy.checkpoint_io = _checkpoint_io()
    kind = import_rfdetr("rfdetr.training.callbacks").BestModelCallback
    for callback in trainer.callbacks:
        if isinstance(callback, kind):
            for method in ("_save_checkpoint", "_write_ema_checkpoint"):
                setattr(callback, method, _in_one_step(getattr(callback, method)))
    log = metrics_log(metrics, resumes)
    trainer.loggers = [log if isinstance(logger, CSVLogger) else logger for logger in trainer.loggers]


def _in_one_step(write: Callable[..., None]) -> Callable[..., None]:
    """`write`, whose last argument is the file that it writes."""

    def write_in_one_step(*arguments: Any) -> None:
        *others, path = arguments
        with replacing_checkpoint(Path(path)) as temporary:
            write(*others, temporary)

    return write_in_one_step


@contextlib.contextmanager
def replacing_checkpoint(path: Path) -> Iterator[Path]:
    """As `replacing`; a full disk is an `OSError`, where torch raises a `RuntimeError` that names no reason."""
    with replacing(path) as temporary:
        try:
            yield temporary
        except RuntimeError:
            with temporary.open("ab") as file:
                file.write(bytes(_PROBE))
            raise


def _checkpoint_io() -> Any:
    import torch
    from pytorch_lightning.plugins.io import TorchCheckpointIO

    class CheckpointIO(TorchCheckpointIO):
        def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
            with replacing_checkpoint(Path(path)) as temporary:
                torch.save(checkpoint, temporary)

    return CheckpointIO()


class _Written(NamedTuple):
    """What a file holds: its columns, and how many rows and bytes."""

    columns: list[str]
    rows: int
    size: int


_NOTHING = _Written([], 0, 0)


def metrics_log(file: Path, resumes: bool) -> Any:
    """A Lightning logger that writes a CSV file of the metrics, with a column for each metric that was ever logged.

    All rows stay in memory, and `save` may be interrupted anywhere and called again. With `resumes`, rows that the file
    has are kept up to the first epoch that is logged; damaged ones are left out, which is logged.
    """
    from pytorch_lightning.loggers import Logger
    from pytorch_lightning.utilities import rank_zero_only

    class MetricsLog(Logger):
        name = version = ""
        save_dir = str(file.parent)

        def __init__(self) -> None:
            super().__init__()
            self._rows: list[Mapping[str, Any]] | None = None
            self._written = _NOTHING

        @rank_zero_only
        def log_hyperparams(self, *_: Any, **__: Any) -> None:
            """The options are in the record of the training."""

        @rank_zero_only
        def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
            row = {name: value.item() if hasattr(value, "item") else value for name, value in metrics.items()}
            if self._rows is None:
                earlier = _read_rows(file) if resumes else []
                self._rows = [one for one in earlier if _is_before(one, row.get("epoch"))]
            self._rows.append({**row, "step": len(self._rows) if step is None else step})

        @rank_zero_only
        def save(self) -> None:
            if self._rows is not None:
                self._written = _write_rows(file, self._rows, self._written)

        @rank_zero_only
        def finalize(self, status: str) -> None:
            self.save()

    return MetricsLog()


def _read_rows(file: Path) -> list[dict[str, str]]:
    """The rows that have a value, which may be empty, for each column."""
    if not file.is_file():
        return []
    rows: list[dict[str, str]] = []
    damaged = 0
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        reader = csv.reader(line.replace("\0", "") for line in lines)
        columns = next(reader, [])
        for values in reader:
            if len(values) == len(columns):
                rows.append({name: value for name, value in zip(columns, values, strict=True) if value})
            else:
                damaged += 1
    if damaged:
        _log.warning("%s has %d damaged rows, which are left out.", file, damaged)
    return rows


def _is_before(row: Mapping[str, str], epoch: Any) -> bool:
    try:
        return epoch is None or int(row["epoch"]) < epoch
    except (KeyError, ValueError):
        return True


def _write_rows(file: Path, rows: list[Mapping[str, Any]], written: _Written) -> _Written:
    """Adds what `file` lacks by `written`; writes all of it where columns are new, or where it is not there."""
    new = rows[written.rows :]
    columns = sorted({*written.columns, *(name for row in new for name in row)})
    if columns != written.columns or not file.is_file():
        text = _csv([dict(zip(columns, columns, strict=True)), *rows], columns)
        with replacing(file) as temporary:
            temporary.write_bytes(text)
        return _Written(columns, len(rows), len(text))
    text = _csv(new, columns)
    with file.open("r+b") as out:
        # What an interrupted call has added is written again.
        out.seek(written.size)
        out.write(text)
        out.truncate()
    return _Written(columns, len(rows), written.size + len(text))


def _csv(rows: list[Mapping[str, Any]], columns: list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns).writerows(rows)
    return text.getvalue().encode()
