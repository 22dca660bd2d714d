"""The dataset that training is asked to use: where it lies, and whether there is anything in it to learn from.

COCO as this package writes it and YOLO-seg as autodistill's `label()` writes it, looked at before rfdetr is imported,
so that an empty dataset costs a second and not a minute.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..dataset import INDEX, annotations_fingerprint, read_index
from ..errors import DataError, MissingInputError, TrainingError
from ..files import fingerprint
from ..images import file_sha256
from ..records import SegDataset
from .survey import Survey, survey_coco, survey_yolo, yolo_lines

_COCO_FILE = "_annotations.coco.json"
_YAML_NAMES = ("data.yaml", "data.yml")
# Those that rfdetr lists in a YOLO folder.
_IMAGE_SUFFIXES = {".bmp", ".dng", ".jpg", ".jpeg", ".mpo", ".png", ".tif", ".tiff", ".webp"}

_log = logging.getLogger(__name__)


class TrainingData(NamedTuple):
    """A dataset's folder, rfdetr's name (`dataset_file`) of its format, and what names its content."""

    root: Path
    reader: str
    fingerprint: str


def find_dataset(dataset: str | os.PathLike[str] | SegDataset) -> TrainingData:
    """The dataset that was meant, after making sure that there is something to learn from and to choose by.

    Raises:
        MissingInputError: there is no such file or folder.
        DataError: it is no dataset, its files are wrong, or `data.yaml` names a folder outside its own.
        TrainingError: train or valid holds no instance with a mask.
    """
    path = dataset.root if isinstance(dataset, SegDataset) else Path(dataset).expanduser()
    if not path.exists():
        raise MissingInputError(f"There is no dataset {path}.")
    root = (path if path.is_dir() else path.parent).resolve()
    if path.is_dir() and (root / "train" / _COCO_FILE).is_file():
        reader, splits = "roboflow", {split: _read_coco(root, split) for split in ("train", "valid")}
    elif path.name in ("data.yaml", "data.yml") or (root / "data.yaml").is_file() or (root / "data.yml").is_file():
        yaml_file = (
            path if path.is_file() else next(root / n for n in ("data.yaml", "data.yml") if (root / n).is_file())
        )
        reader, (_, splits) = "yolo", _read_yolo(root, yaml_file)
    else:
        raise DataError(f"{path} is no dataset.", f"It needs train/{_COCO_FILE} or, for YOLO, a data.yaml.")
    _check_splits(root, splits)
    if (root / INDEX).is_file():
        digest = annotations_fingerprint(root)
        if digest != read_index(root)["fingerprint"]:
            _log.warning("The annotations in %s were edited after it was built: they are taken as they are now.", root)
    elif isinstance(dataset, SegDataset):
        digest = dataset.fingerprint
    else:
        digest = _fingerprint(root, splits)
    return TrainingData(root, reader, digest)


def survey(data: TrainingData) -> tuple[Survey, Survey]:
    """What the train and the valid split hold; raises DataError where a file cannot be read."""
    if data.reader == "roboflow":
        train, valid = (survey_coco(data.root / split / _COCO_FILE, split) for split in ("train", "valid"))
        return train, valid
    file = next(data.root / name for name in _YAML_NAMES if (data.root / name).is_file())
    names, splits = _read_yolo(data.root, file)
    train, valid = (survey_yolo(*_yolo_files(*splits[split].folders), split, names) for split in ("train", "valid"))
    return train, valid


class _Split(NamedTuple):
    images: int
    instances: int
    boxes: int  # objects without a mask
    folders: tuple[Path, ...]


def _check_splits(root: Path, splits: Mapping[str, _Split]) -> None:
    train, valid = splits["train"], splits["valid"]
    if not train.instances and train.boxes:
        raise TrainingError(
            f"The {train.boxes} objects in the train split of {root} have boxes and no masks.",
            "Label with a base that segments.",
        )
    if not train.instances:
        raise TrainingError(
            f"The train split of {root} has no instance in its {train.images} images.",
            "Look at the raw labels, and loosen the filters (confidence, area, NMS) or the prompts.",
        )
    if not valid.instances:
        what = f"no instance in its {valid.images} images" if valid.images else "no image"
        raise TrainingError(
            f"The valid split of {root} has {what}, so no checkpoint can be chosen.",
            "Give it a larger share of the images, or label more of them.",
        )


def _read_coco(root: Path, split: str) -> _Split:
    file = root / split / _COCO_FILE
    if not file.is_file():
        return _Split(0, 0, 0, ())
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        # rfdetr leaves crowds out of the targets.
        masks = [bool(a.get("segmentation")) for a in data["annotations"] if not a.get("iscrowd")]
        images = len(data["images"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is no COCO file ({type(error).__name__}: {error}).") from error
    return _Split(images, sum(masks), len(masks) - sum(masks), (root / split,))


def _read_yolo(root: Path, file: Path) -> tuple[dict[int, str], dict[str, _Split]]:
    """The names of the classes by number, and both splits."""
    if file.name not in ("data.yaml", "data.yml"):
        raise DataError(f"{file} must be called data.yaml: rfdetr looks for that name.")
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict) or not data.get("names"):
        raise DataError(f"{file} has no `names` of classes.")
    names = _class_names(file, data["names"])
    keys = {"train": ("train",), "valid": ("val", "valid")}
    declared = {split: next((data[k] for k in called if k in data), None) for split, called in keys.items()}
    return names, {split: _read_yolo_split(root, file, data.get("path"), declared[split], split) for split in keys}


def _class_names(file: Path, named: Any) -> dict[int, str]:
    """The classes by number, from a list of them or a mapping; letters of a word are no classes."""
    hint = "Write `names: [ant, bee]`, or each under its number: `names: {0: ant, 1: bee}`."
    if not isinstance(named, list | dict):
        raise DataError(f"{file}: `names` is {named!r}, and not a list of classes.", hint)
    found = dict(named.items() if isinstance(named, dict) else enumerate(named))
    for number in found:
        if not str(number).isdecimal():
            raise DataError(f"{file}: the class {number!r} in `names` is no number.", hint)
    return {int(number): str(name) for number, name in found.items()}


def _read_yolo_split(root: Path, file: Path, base: Any, declared: Any, split: str) -> _Split:
    """Looks where rfdetr will: where `data.yaml` says if that is there, else in the split's usual folder."""
    if not isinstance(base, str | None) or not isinstance(declared, str | None):
        raise DataError(f"{file}: `path` and the {split} split must each be one path.")
    start = root / base if base and (root / base).is_dir() else root
    usual = [root / name / "images" for name in (("train",) if split == "train" else ("valid", "val"))]
    for images in [start / declared, *usual] if declared else usual:
        if images.is_dir() and not images.resolve().is_relative_to(root):
            raise DataError(f"{file}: the {split} split is in {images}, outside the dataset's folder.")
        # Resolved, a path such as ../dataset/train/images is one inside.
        labels = Path(re.sub(r"^(.*/)images(?=/|$)", r"\1labels", images.resolve().as_posix()))
        if images.is_dir() and labels.is_dir():
            break
    else:
        return _Split(0, 0, 0, ())
    pictures, texts = _yolo_files(images, labels)
    lines = [line.split() for text in texts for line in yolo_lines(text)]
    masks = sum(len(fields) > 5 for fields in lines)
    return _Split(len(pictures), masks, sum(len(fields) == 5 for fields in lines), (images, labels))


def _yolo_files(images: Path, labels: Path) -> tuple[list[Path], list[Path]]:
    """The images of a split and their label files, which need not be there."""
    pictures = sorted(p for p in images.iterdir() if p.suffix.lower() in _IMAGE_SUFFIXES)
    return pictures, [labels / f"{p.stem}.txt" for p in pictures]


def _fingerprint(root: Path, splits: Mapping[str, _Split]) -> str:
    """Names the relative paths and contents of all files that are trained on."""
    folders = [folder.resolve() for split in splits.values() for folder in split.folders]
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return fingerprint({path.relative_to(root).as_posix(): file_sha256(path) for path in files})
