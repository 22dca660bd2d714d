"""Finds the label file of each image: in `labels` instead of the path's last `images`, or beside the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...coco.problems import OnProblem, ProblemReporter
from ...core.name_keys import name_key
from ...images.image_formats import IMAGE_SUFFIXES
from ...system.files import read_user_text
from ...system.folders import walk
from . import yolo_problem_kinds as kinds
from .yolo_paths import Places

_SUFFIX = ".txt"
_FEWEST_NUMBERS = 5


@dataclass(frozen=True, slots=True)
class _Home:
    """Where the labels of a folder's images lie: `names` are the label files by loose stem, each with those that fit.

    `beside` tells that it is the images' own folder.
    """

    folder: Path
    beside: bool
    names: dict[str, list[str]] = field(default_factory=dict)


class LabelFiles:
    """The label files of a dataset, found from its images; each folder is listed once."""

    def __init__(self, places: Places, on_problem: OnProblem) -> None:
        self._places = places
        self._on_problem = on_problem
        self._homes: dict[Path, _Home] = {}

    def find(self, image: Path) -> tuple[Path | None, bool]:
        """An image's label file, None if it has none, and whether the image can be read.

        It cannot if two files fit, or if the one that fits is a link out of the dataset.
        """
        home = self._home(image.parent)
        fitting = home.names.get(name_key(image.stem), [])
        exact = [name for name in fitting if name[: -len(_SUFFIX)] == image.stem]
        if not exact and fitting:
            # A file in another spelling may be that of an image of that very name.
            fitting = [name for name in fitting if not self._has_image(image.parent, name[: -len(_SUFFIX)])]
        fitting = exact or fitting
        if not fitting:
            return None, True
        label = home.folder / fitting[0]
        reporter = ProblemReporter(self._on_problem, label)
        shown = self._places.shown(image)
        if len(fitting) > 1:
            reporter.add(kinds.TWO_LABELS, f"the labels of {shown} could be {fitting[0]!r} or {fitting[1]!r}")
        elif self._places.leads_out(label):
            reporter.add(kinds.OUTSIDE, f"the label file of {shown} is a link that leads out of the dataset")
        elif not exact:
            reporter.add(kinds.SPELLING, f"{fitting[0]!r} is read as the label file of {shown}")
        return label, reporter.sound

    def tell_orphans(self, images: Sequence[Path]) -> None:
        """Tells of label files in the folders of those of `images`, and below, that no image on disk fits."""
        twins: dict[Path, set[Path]] = {}
        for folder in dict.fromkeys(image.parent for image in images):
            home = self._home(folder)
            below = [home.folder] if home.beside else [inner for inner, _ in walk(home.folder)]
            for inner in filter(self._places.is_inside, below):
                twins.setdefault(inner, set()).add(folder / inner.relative_to(home.folder))
        for labels, folders in twins.items():
            names = [name for folder in folders for name in self._places.names(folder) if _is_image(name)]
            stems = {name_key(Path(name).stem) for name in names}
            for stem, files in self._label_names(labels).items():
                for label in (labels / name for name in files if stem not in stems):
                    if not self._places.leads_out(label) and _looks_like_labels(label):
                        ProblemReporter(self._on_problem, label).add(
                            kinds.ORPHAN, "there is no image for this label file"
                        )

    def looked_in(self, image: Path) -> Path:
        """The folder in which an image's label file is looked for."""
        return self._home(image.parent).folder

    def _home(self, folder: Path) -> _Home:
        if folder not in self._homes:
            self._homes[folder] = self._find_home(folder)
        return self._homes[folder]

    def _find_home(self, folder: Path) -> _Home:
        beside = self._label_names(folder)
        base, expected = self._swapped(folder)
        if expected is None:
            return _Home(folder, True, beside)
        found = self._places.find(self._places.root, str(expected.relative_to(self._places.root)))
        with_image = [files[0] for stem, files in beside.items() if self._has_image(folder, stem, loose=True)]
        if found is not None and found.path.is_dir():
            self._report_beside(folder, with_image, found.path)
            return _Home(found.path, False, self._label_names(found.path))
        labels = self._places.find(self._places.root, str(base)) if base is not None else None
        if with_image and labels is None:
            first = folder / with_image[0]
            message = f"{len(with_image)} label files lie beside the images of {self._places.shown(folder)}"
            ProblemReporter(self._on_problem, first).add(kinds.BESIDE, message)
            return _Home(folder, True, beside)
        self._report_beside(folder, with_image, expected)
        return _Home(expected, False)

    def _report_beside(self, folder: Path, names: list[str], home: Path) -> None:
        for name in names:
            label = folder / name
            if not self._places.leads_out(label) and _looks_like_labels(label):
                message = f"labels of {self._places.shown(folder)} are read from {self._places.shown(home)}"
                ProblemReporter(self._on_problem, label).add(kinds.NOT_READ, message)

    def _swapped(self, folder: Path) -> tuple[Path | None, Path | None]:
        """The folder `labels`, relative to the root, and the one in it that has the labels of `folder`'s images."""
        parts = folder.relative_to(self._places.root).parts
        at = [index for index, part in enumerate(parts) if part == "images"]
        at = at or [index for index, part in enumerate(parts) if part.casefold() == "images"]
        if not at:
            return None, None
        base = Path(*parts[: at[-1]], "labels")
        return base, self._places.root / base / Path(*parts[at[-1] + 1 :])

    def _label_names(self, folder: Path) -> dict[str, list[str]]:
        """The label files in a folder by their loose stem."""
        found: dict[str, list[str]] = {}
        for name in self._places.names(folder):
            if name[-len(_SUFFIX) :].lower() == _SUFFIX:
                found.setdefault(name_key(name[: -len(_SUFFIX)]), []).append(name)
        return found

    def _has_image(self, folder: Path, stem: str, *, loose: bool = False) -> bool:
        """Whether an image in the folder has this stem, its spelling `loose` or the very same."""
        for suffix in IMAGE_SUFFIXES:
            alike = self._places.alike(folder, f"{stem}{suffix}")
            if alike and (loose or any(Path(name).stem == stem for name in alike)):
                return True
        return False


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _looks_like_labels(file: Path) -> bool:
    """Whether a file's first line is numbers, or the file is empty: `classes.txt`, a caption or a README is none."""
    try:
        first = read_user_text(file).strip().split("\n", 1)[0].replace(",", " ").split()
        return not first or (len(first) >= _FEWEST_NUMBERS and bool([float(word) for word in first]))
    except Exception:  # noqa: BLE001 - any error: it is not a label file
        return False
