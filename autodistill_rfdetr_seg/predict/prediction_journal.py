"""What was predicted of a folder of images, kept as it is made, so that what ends it loses nothing that was done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import coco
from ..core.errors import DataError
from ..core.types import Classes, ImageLabels, ImageRecord, Instance
from ..drawing.overlays import draw_instances
from ..images.image_opening import OpenedImage
from ..images.rgb_image import write_png
from ..system.files import fingerprint, replacing

PICTURES = "pictures"


def counted(class_ids: Sequence[int], classes: Classes) -> dict[str, int]:
    """How often each class is among class indices, by name."""
    found = Counter(class_ids)
    return {name: found[index] for index, name in enumerate(classes.names)}


class Kept:
    """What is in an output folder of one model at one confidence: `predictions.jsonl`, and a picture an image.

    `counts` has the instances by class of each image. A line is of one file, told by its size and time; of two lines of
    an image the later counts. Lines that do not count stay (`others`), save a last one that is torn.
    """

    def __init__(self, output: Path, identity: str, classes: Classes, begin: bool) -> None:
        self.counts: dict[str, dict[str, int]] = {}
        self._output, self._identity, self._classes = output, identity, classes
        self._places: dict[str, tuple[int, int, int]] = {}
        self.path = output / "predictions.jsonl"
        self.others = False
        self._end = 0
        self._file = self.path.open("w+b" if begin or not self.path.is_file() else "r+b")
        self._read()

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has(self, path: Path, name: str) -> bool:
        """Whether an image is there, as its file is now."""
        if name not in self._places or not self._picture(name).is_file():
            return False
        try:
            stat = path.stat()
        except OSError:
            return False
        return self._places[name][1:] == (stat.st_size, stat.st_mtime_ns)

    def add(self, image: OpenedImage, instances: Sequence[Instance]) -> dict[str, int]:
        """Draws and writes what was found in an image; its instances by class."""
        name = image.record.path
        # First: an image that has a line is done.
        with replacing(self._picture(name)) as temporary:
            write_png(temporary, draw_instances(image.pixels, instances, self._classes))
        line = {
            "file_name": name,
            "height": image.record.height,
            "width": image.record.width,
            "bytes": image.file_bytes,
            "mtime_ns": image.mtime_ns,
            "made_by": self._identity,
            "instances": [coco.instance_row(one, self._classes) for one in instances],
        }
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self._note(line, self._end)
        self._end = self._file.tell()
        return self.counts[name]

    def labels(self, name: str) -> ImageLabels:
        """What was found in an image that is there; its masks are read from the file."""
        self._file.seek(self._places[name][0])
        try:
            line = json.loads(self._file.readline())
            height, width = line["height"], line["width"]
            instances = tuple(coco.read_instance(row, height, width) for row in line["instances"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.path}, image {name!r}: {error}.", "Begin anew, with --overwrite.") from error
        return ImageLabels(ImageRecord("", name, height, width, ""), instances, source="target")

    def _read(self) -> None:
        for text in self._file:
            if not text.endswith(b"\n"):
                break
            try:
                line = json.loads(text)
                mine = line["made_by"] == self._identity
                if mine:
                    self._note(line, self._end)
            except (ValueError, KeyError, TypeError):
                mine = False
            self.others |= not mine
            self._end += len(text)
        self._file.seek(self._end)
        self._file.truncate()

    def _note(self, line: Mapping[str, Any], place: int) -> None:
        name = line["file_name"]
        self.counts[name] = counted([one["class_id"] for one in line["instances"]], self._classes)
        self._places[name] = (place, line["bytes"], line["mtime_ns"])

    def _picture(self, name: str) -> Path:
        # With the image's own suffix: a.jpg and a.png are two.
        return self._output / PICTURES / f"{name}.png"


def identity_of(model: Any, classes: Classes, confidence: float) -> str:
    """What decides the answers: the weights where they are in a file, else what the model is called."""
    from ..targets.inference.export_record import export_folder, model_sha256

    file = Path(getattr(model, "path", None) or getattr(model, "checkpoint", None) or "")
    named = file.is_file() or export_folder(file) is not None
    return fingerprint(model_sha256(file) if named else name_of(model), list(classes.names), confidence)


def name_of(model: Any) -> str:
    """A model's file, or what a served one is called."""
    file = getattr(model, "path", None) or getattr(model, "checkpoint", None)
    return str(getattr(file or model, "name", type(model).__name__))
