"""The journal of a folder's prediction: each result is written as it is made, so that an interruption loses none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import coco
from ..core.errors import DataError
from ..core.types import Classes, ImageLabels, ImageRecord
from ..runtime.prediction_rules import PredictionRules
from ..system.files import fingerprint, replacing
from .prediction_threads import FoundInstances

PICTURES = "pictures"


def count_by_class(class_ids: Sequence[int], classes: Classes) -> dict[str, int]:
    """The number of class indices of each class, by name."""
    found = Counter(class_ids)
    return {name: found[index] for index, name in enumerate(classes.names)}


class PredictionJournal:
    """The results of a model under one set of rules in an output folder: `predictions.jsonl`, and a picture an image.

    `counts` has the instances by class of each image. A line belongs to one file, identified by its size and time; of
    two lines for an image the later one counts. Lines of other models or rules stay (`has_other_lines`); an
    incomplete last line is removed.
    """

    def __init__(self, output: Path, identity: str, classes: Classes, start_over: bool) -> None:
        self.counts: dict[str, dict[str, int]] = {}
        self._output, self._identity, self._classes = output, identity, classes
        self._line_places: dict[str, tuple[int, int, int]] = {}
        self.path = output / "predictions.jsonl"
        self.has_other_lines = False
        self._end = 0
        self._file = self.path.open("w+b" if start_over or not self.path.is_file() else "r+b")
        self._read()

    def __enter__(self) -> PredictionJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has(self, path: Path, name: str) -> bool:
        """Whether there is a result for an image, and its file has not changed since."""
        if name not in self._line_places or not self._picture(name).is_file():
            return False
        try:
            stat = path.stat()
        except OSError:
            return False
        return self._line_places[name][1:] == (stat.st_size, stat.st_mtime_ns)

    def add(self, found: FoundInstances) -> None:
        """Writes the instances of an image, and its picture."""
        name = found.record.path
        assert found.picture is not None
        # The picture comes first: an image that has a line is done.
        with replacing(self._picture(name)) as temporary:
            temporary.write_bytes(found.picture)
        line = {
            "file_name": name,
            "height": found.record.height,
            "width": found.record.width,
            "bytes": found.file_bytes,
            "mtime_ns": found.mtime_ns,
            "made_by": self._identity,
            "instances": [coco.instance_row(one, self._classes) for one in found.instances],
        }
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self._remember(line, self._end)
        self._end = self._file.tell()

    def labels(self, name: str) -> ImageLabels:
        """The instances of an image that has a result; its masks are read from the file."""
        self._file.seek(self._line_places[name][0])
        try:
            line = json.loads(self._file.readline())
            height, width = line["height"], line["width"]
            instances = tuple(coco.read_instance(row, height, width) for row in line["instances"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.path}, image {name!r}: {error}.", "Start over with --overwrite.") from error
        return ImageLabels(ImageRecord("", name, height, width, ""), instances, source="target")

    def _read(self) -> None:
        for text in self._file:
            if not text.endswith(b"\n"):
                break
            try:
                line = json.loads(text)
                mine = line["made_by"] == self._identity
                if mine:
                    self._remember(line, self._end)
            except (ValueError, KeyError, TypeError):
                mine = False
            self.has_other_lines |= not mine
            self._end += len(text)
        self._file.seek(self._end)
        self._file.truncate()

    def _remember(self, line: Mapping[str, Any], place: int) -> None:
        name = line["file_name"]
        self.counts[name] = count_by_class([one["class_id"] for one in line["instances"]], self._classes)
        self._line_places[name] = (place, line["bytes"], line["mtime_ns"])

    def _picture(self, name: str) -> Path:
        # With the image's own suffix: a.jpg and a.png are two images.
        return self._output / PICTURES / f"{name}.png"


def model_identity(model: Any, classes: Classes, rules: PredictionRules) -> str:
    """A fingerprint of what decides the results: the model's weights, or its name where they are in no file, and the
    rules."""
    from ..targets.inference.export_record import export_folder, model_sha256

    file = Path(getattr(model, "path", None) or getattr(model, "checkpoint", None) or "")
    has_file = file.is_file() or export_folder(file) is not None
    return fingerprint(model_sha256(file) if has_file else model_name(model), list(classes.names), rules)


def model_name(model: Any) -> str:
    """The name of a model's file, or of a model that a server runs."""
    file = getattr(model, "path", None) or getattr(model, "checkpoint", None)
    return str(getattr(file or model, "name", type(model).__name__))
