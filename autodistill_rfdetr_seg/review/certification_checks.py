"""The checks of a certification: drawn once, written as a page and as COCO, and read back."""

from __future__ import annotations

import dataclasses
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import coco
from ..core.config import CERTIFY_CHECKS
from ..core.errors import DataError, OutputExistsError
from ..core.plain_text import counted
from ..core.types import ImageLabels, ImageRecord
from ..drawing.check_page import CheckCard, CheckPageText, label_picture, region_picture, write_check_page
from ..images.image_opening import open_rgb
from ..system.config_files import run_megapixels
from ..system.files import fingerprint, link_or_copy, read_json, replacing_folder, write_json
from ..system.run_folder import RunFolder
from .certification_items import CertificationItems, LabelItem, RegionItem, read_items
from .certification_sample import Sample, divide_checks, draw_sample

_log = logging.getLogger(__name__)

_FILE = "checks.json"


@dataclass(frozen=True)
class CheckOptions:
    """What decides the checks: their number, the number of these that are regions (None: half), and the seed."""

    checks: int = CERTIFY_CHECKS
    regions: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Checks:
    """The drawn checks of a run: its items, and which of them are checked. `name` is of the content."""

    options: CheckOptions
    items: CertificationItems
    sample: Sample
    folder: Path

    @property
    def name(self) -> str:
        """16 hex digits: answers are valid for these checks alone."""
        return fingerprint(dataclasses.asdict(self.options), self.items.fingerprint, *map(sorted, self.references))

    @property
    def label_items(self) -> list[LabelItem]:
        """The labels to check."""
        return [self.items.labels[at] for chosen in self.sample.labels for at in chosen.tolist()]

    @property
    def region_items(self) -> list[RegionItem]:
        """The regions to check, in the order of drawing."""
        return [self.items.regions[at] for at in self.sample.regions.tolist()]

    @property
    def references(self) -> tuple[list[str], list[str]]:
        """The names of the labels and of the regions to check."""
        return [one.reference for one in self.label_items], [one.reference for one in self.region_items]

    @property
    def images(self) -> set[str]:
        """The images of the checks, by the path of the user's image."""
        return {one.image for one in self.label_items} | {one.image for one in self.region_items}

    @property
    def page(self) -> Path:
        """The page with the questions."""
        return self.folder / "checks.html"

    @property
    def coco_folder(self) -> Path:
        """The images of the checks with their labels, for an annotation tool."""
        return self.folder / "coco"

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        labels, regions = self.references
        return {"page": str(self.page), "coco": str(self.coco_folder), "labels": labels, "regions": regions}

    def as_text(self) -> str:
        """What to check, and where, as text for a terminal."""
        of_labels, of_regions = (len(names) for names in self.references)
        inside = sum(one.labels for one in self.region_items)
        lines = [
            f"{counted(of_labels, 'label')} to check one by one, of {counted(len(self.items.labels), 'label')}",
            f"{counted(of_regions, 'region')} to check with all {counted(inside, 'label')} in them, and for missed "
            f"objects, of {counted(len(self.items.regions), 'region')}",
            f"page     {self.page}",
            f"or COCO  {self.coco_folder}",
        ]
        return "\n".join(lines)


def draw_checks(
    run: RunFolder, options: CheckOptions | None = None, *, overwrite: bool = False, progress: bool = True
) -> Checks:
    """Draws the checks of a run's dataset and writes `RUN/certification`: the page, and the images as COCO.

    The same options and dataset give the same checks, which are not written again.

    Raises:
        UsageError: the options leave no check of a label or of a region.
        OutputExistsError: there are other checks already, and not `overwrite`.
        DataError: the run has no dataset, or nothing in it to check.
    """
    options = options or CheckOptions()
    checks = _drawn(run, options)
    file = checks.folder / _FILE
    if file.is_file() and read_json(file).get("name") == checks.name:
        return checks
    if file.is_file() and not overwrite:
        raise OutputExistsError(
            f"{checks.folder} has checks already, of other options or of another dataset.",
            "Answer those, or draw others with --overwrite: answers to the old ones do not count for the new.",
        )
    with replacing_folder(checks.folder) as folder:
        written = dataclasses.replace(checks, folder=folder)
        _write_page(written, run, progress)
        _write_coco(written)
        write_json(folder / _FILE, {"name": checks.name, "options": dataclasses.asdict(options)})
    return checks


def read_checks(run: RunFolder) -> Checks:
    """The checks that `draw_checks` wrote.

    Raises:
        DataError: there are none, or the dataset has changed since.
    """
    file = run.certification / _FILE
    if not file.is_file():
        raise DataError(f"There are no checks in {run.certification}.", "Run `autodistill-seg certify RUN` first.")
    stored: dict[str, Any] = read_json(file)
    checks = _drawn(run, CheckOptions(**stored["options"]))
    if checks.name != stored["name"]:
        raise DataError(
            f"The dataset of {run.root} has changed since the checks in {file} were drawn.",
            "Draw new ones with --overwrite: answers about other labels do not count for these.",
        )
    return checks


def _drawn(run: RunFolder, options: CheckOptions) -> Checks:
    items = read_items(run)
    of_labels, of_regions = divide_checks(options.checks, options.regions, len(items.labels), len(items.regions))
    ranks = [one.rank for one in items.labels]
    sample = draw_sample(ranks, [one.labels for one in items.regions], of_labels, of_regions, options.seed)
    return Checks(options, items, sample, run.certification)


def _write_page(checks: Checks, run: RunFolder, progress: bool) -> None:
    summary = (
        f"{counted(len(checks.label_items), 'label')} and {counted(len(checks.region_items), 'region')} to check. A "
        "region takes longer: all its labels are judged, and objects without a label are looked for. Save the answers, "
        "then run `autodistill-seg certify RUN --answers answers.json`."
    )
    text = CheckPageText("Checks of labels", summary, checks.items.classes.names, checks.name)
    write_check_page(checks.page, _cards(checks, run_megapixels(run), progress), text)


def _cards(checks: Checks, max_megapixels: float, progress: bool) -> Iterator[CheckCard]:
    """The card of each check; all checks of an image follow one another, so that it is read once."""
    from tqdm import tqdm

    files = {one.image: one.file for one in checks.items.regions}
    labels_of: dict[str, list[LabelItem]] = defaultdict(list)
    regions_of: dict[str, list[RegionItem]] = defaultdict(list)
    every: dict[str, list[LabelItem]] = defaultdict(list)
    index_of = {one.reference: at for at, one in enumerate(checks.items.regions)}
    for label in checks.label_items:
        labels_of[label.image].append(label)
    for region in checks.region_items:
        regions_of[region.image].append(region)
    for label in checks.items.labels:
        if label.image in regions_of:
            every[label.image].append(label)
    for image in tqdm(sorted(labels_of | regions_of), desc="Checks", unit="image", disable=not progress, delay=2):
        try:
            pixels, problem = open_rgb(files[image], max_megapixels=max_megapixels), ""
        except DataError as error:
            pixels, problem = None, error.message
            _log.warning("%s", error.message)
        for label in labels_of[image]:
            drawn = None if pixels is None else label_picture(pixels, label.instance, checks.items.classes)
            yield CheckCard(label.reference, f"Is it a right {label.class_name}? {image}", None, drawn, problem)
        for region in regions_of[image]:
            at = index_of[region.reference]
            inside = [one.instance for one in every[image] if one.region == at]
            others = [one.instance for one in every[image] if one.region != at]
            shown = None
            if pixels is not None:
                shown = region_picture(pixels, region.xyxy, inside, others, checks.items.classes)
            yield CheckCard(region.reference, f"What is wrong or missed? {image}", region.labels, shown, problem)


def _write_coco(checks: Checks) -> None:
    """Writes the images of the checks with all their labels, in the form that annotation tools read."""
    wanted = checks.images
    file_of = {one.image: one.file for one in checks.items.regions if one.image in wanted}
    instances = defaultdict(list)
    for label in checks.items.labels:
        instances[label.image].append(label.instance)
    sizes = {one.image: one.xyxy[2:] for one in checks.items.regions}
    checks.coco_folder.mkdir()

    def entries() -> Iterator[tuple[str, ImageLabels]]:
        for image in sorted(wanted):
            file = file_of[image]
            link_or_copy(file, checks.coco_folder / file.name)
            width, height = sizes[image]  # the last region of an image ends at its corner
            yield file.name, ImageLabels(ImageRecord("", image, height, width, ""), tuple(instances[image]))

    info = {"description": f"Labels to correct for the certification {checks.name}."}
    coco.write(checks.coco_folder / coco.ANNOTATIONS, entries(), checks.items.classes, info)
