"""The dataset to train on, read by this package's reader, and the folder that RF-DETR reads.

RF-DETR reads only what this package wrote: a dataset that `build` made is used directly, any other is copied as it was
understood, its images hard-linked. So one reader decides what a file means, and an empty dataset is found in a second.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ... import coco
from ...core.config import MAX_MEGAPIXELS
from ...core.errors import DataError, MissingInputError, TrainingError
from ...core.types import GroundTruth, SegDataset
from ...dataset.dataset_index import INDEX, annotations_fingerprint, read_head
from ...readers import AnnotatedSource, joined_classes, read_source, write_clean
from ...readers.yolo.yolo_problem_kinds import NO_LABELS
from ...system.files import replacing_folder
from ...system.folders import folder_contents
from ...system.machine import same_disk
from .dataset_survey import SplitSurvey, survey_split

# rfdetr's name (`dataset_file`) of the format that this package writes.
READER = "roboflow"
# Its name starts with a dot, so it is not moved with the results of a training.
_PREPARED = ".dataset"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """A dataset to train on: its folder, and what was read from it.

    `fingerprint` identifies the content; None where only `prepare` finds it out. `used_directly` means that `build`
    made the dataset and nobody has edited it since, so RF-DETR can read it without a copy. Images larger than
    `max_megapixels` are not decoded.
    """

    root: Path
    source: AnnotatedSource
    fingerprint: str | None = None
    used_directly: bool = False
    max_megapixels: float = MAX_MEGAPIXELS

    @property
    def splits(self) -> dict[str, GroundTruth]:
        """The splits that training reads; the test split where there is one with images."""
        found = self.source.splits
        return {name: found[name] for name in ("train", "valid", "test") if name in found and found[name].images}

    def folder(self, work: Path) -> Path:
        """The folder that RF-DETR reads, for a training that works in `work`."""
        return self.root if self.used_directly else work / _PREPARED

    def copied_bytes(self, work: Path) -> int:
        """Bytes of the images that `prepare` has to copy, because they are on another disk than `work`."""
        if self.used_directly or same_disk(self.root, work):
            return 0
        return sum(image.path.stat().st_size for truth in self.splits.values() for image in truth.images)

    def prepare(self, work: Path, *, progress: bool = True) -> str:
        """Writes `folder(work)` where it is a copy; returns the fingerprint of the content.

        Raises:
            DataError: an image cannot be decoded.
        """
        if self.used_directly and self.fingerprint is not None:
            return self.fingerprint
        info = {"description": "A dataset as autodistill-rfdetr-seg read it, for training.", "version": "1.0"}
        with replacing_folder(self.folder(work)) as folder:
            written = write_clean(self.splits, folder, info=info, max_megapixels=self.max_megapixels, progress=progress)
        return self.fingerprint or str(written["fingerprint"])


def find_dataset(
    dataset: str | os.PathLike[str] | SegDataset, *, max_megapixels: float = MAX_MEGAPIXELS, progress: bool = False
) -> TrainingData:
    """Reads the dataset to train on, and checks that train and valid have instances.

    Other problems of its files are left to `preflight`, which reports them.

    Raises:
        MissingInputError: there is no such file or folder.
        DataError: it is not a dataset, it is ambiguous, or the test split has an error.
        TrainingError: train or valid has no instance with a mask.
    """
    path = dataset.root if isinstance(dataset, SegDataset) else Path(dataset).expanduser()
    if not path.exists():
        raise MissingInputError(f"There is no dataset {path}.")
    source = read_source(path, images="checked", max_megapixels=max_megapixels, progress=progress)
    root = source.root.resolve()
    if "" in source.splits and len(source.splits) == 1:
        raise DataError(
            f"{path} is one set of images; training needs a train and a valid split.",
            f"Put the images and {coco.ANNOTATIONS} of each into the folders train and valid.",
        )
    used_directly = False
    digest = dataset.fingerprint if isinstance(dataset, SegDataset) else None
    if (root / INDEX).is_file():
        digest = annotations_fingerprint(root)
        used_directly = digest == read_head(root)["fingerprint"]
        if not used_directly:
            _log.warning("The annotations in %s were edited after it was built; the edited ones are used.", root)
    data = TrainingData(root, source, digest, used_directly, max_megapixels)
    _check_splits(data)
    if "test" in source.splits:
        # Preflight looks at train and valid only, so problems of the test split are reported here.
        problems = [problem for problem in source.problems_of("test") if problem.split in ("test", None)]
        coco.refuse_errors(problems)
        coco.log_warnings(problems)
    return data


def survey_splits(data: TrainingData) -> tuple[SplitSurvey, SplitSurvey]:
    """The surveys of the train and the valid split."""
    classes = joined_classes(data.splits)
    train, valid = (
        survey_split(data.splits[split], split, classes, data.source.problems_of(split))
        if split in data.splits
        else SplitSurvey.empty(split, classes, data.source.problems_of(split))
        for split in ("train", "valid")
    )
    return train, valid


def _check_splits(data: TrainingData) -> None:
    """Refuses a dataset whose train or valid split has no instance, unless errors in its files explain that."""
    hints: Mapping[str, str] = {
        "train": "Look at the raw labels, and loosen the filters (confidence, area, NMS) or change the prompts.",
        "valid": "Give it a larger fraction of the images, or label more of them.",
    }
    for split, hint in hints.items():
        truth = data.source.splits.get(split)
        if truth is None:
            known = ", ".join(name for name in data.source.splits) or "none"
            raise DataError(
                f"{data.root} has no {split} split, only {known}: it contains {folder_contents(data.root)}.",
                f"Put its images and annotations into {data.root / split}.",
            )
        if any(not one.crowd for image in truth.images for one in image.instances):
            continue
        problems = data.source.problems_of(split)
        if any(problem.severity == "error" for problem in problems):
            continue
        what = f"no instance in its {len(truth.images)} images" if truth.images else "no image"
        if no_labels := [problem for problem in problems if problem.kind == NO_LABELS]:
            what, hint = f"{what}: {no_labels[0].message}", NO_LABELS.hint
        if left_out := sum(problem.kind.leaves_out for problem in problems):
            what = f"no instance with a mask in its {len(truth.images)} images ({left_out} objects are left out)"
            hint = "Run `autodistill-seg validate` to see why."
        if crowds := sum(len(image.instances) for image in truth.images):
            what = f"only {crowds} crowds in its {len(truth.images)} images, and RF-DETR leaves crowds out"
            hint = "If they are objects (CVAT writes every brush mask so): `autodistill-seg repair --crowds objects`."
        why = ", so no checkpoint can be chosen" if split == "valid" else ""
        raise TrainingError(f"The {split} split of {data.root} has {what}{why}.", hint)
