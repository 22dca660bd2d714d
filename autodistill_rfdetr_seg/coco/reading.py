"""COCO files as gold sets, and as the labels that `write` wrote."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..records import Classes, FileId, GroundTruth, Instance, TruthImage, TruthInstance
from .alignment import ground_truth
from .annotation import Annotation
from .layout import locate
from .parsing import CocoFile, ImageCheck, load, parse
from .problem import Problem, by_kind

_log = logging.getLogger(__name__)


def read(
    source: str | Path, *, images: ImageCheck = "located", quiet: bool = False, progress: bool = False
) -> GroundTruth:
    """The gold set of a COCO file, or of a folder that holds one, in any layout that `layout` knows.

    Classes come in the order of their category ids, images in that of their ids; a row that only names other rows'
    supercategory is no class. `area` and `bbox` are as stated, None where they are to be computed from the mask;
    crowds are kept. What is written in another form and plainly meant is read, and the log counts it, once a kind,
    unless `quiet`.

    Args:
        images: "located" finds each file, which need not be there; "checked" holds its header against the stated size
            as well; "ignored" looks for none.

    Raises:
        MissingInputError: there is no such file.
        DataError: something in it is wrong; the message names the file, image id and annotation id.
    """
    path = locate(source)
    problems: list[Problem] = []
    file = parse(path, problems.append, images=images, progress=progress)
    refuse_errors(problems)
    if not quiet:
        log_warnings(problems)
    return truth_of(file)


def truth_of(file: CocoFile) -> GroundTruth:
    """The sound parts of a COCO file as a gold set."""
    index = {key: index for index, key in enumerate(file.categories)}
    instances: dict[FileId, list[TruthInstance]] = {key: [] for key in file.images}
    for row in file.annotations:
        instances[row.image].append(_truth_instance(row, index))
    images = tuple(
        TruthImage(
            image.file_name, image.path, image.height, image.width, tuple(instances[key]), image.id, image.upright
        )
        for key, image in file.images.items()
    )
<<<<<<< HEAD
    classes = file.categories.values()
    return ground_truth(Classes(tuple(row.name for row in classes)), images, tuple(row.id for row in classes))


def refuse_errors(problems: Sequence[Problem]) -> None:
    """Raises DataError for the first error among the problems, with the number of the others."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return
    first, more = errors[0], len(errors) - 1
    others = f" ({more} more error{'s' if more > 1 else ''})" if more else ""
    hint = first.kind.hint or "Put it right, or leave it out with `autodistill-seg repair`."
    raise DataError(f"{first.place}: {first.message}{others}.", f"{hint} `autodistill-seg validate` lists them all.")


def log_warnings(problems: Sequence[Problem]) -> None:
    """Says what was read as it is plainly meant: a line for each kind and file, with how many there are."""
    for file in dict.fromkeys(problem.file for problem in problems):
        for group in by_kind(one for one in problems if one.file == file and one.severity == "warning"):
            kind = group[0].kind
            treatment = f": {kind.treatment}" if kind.treatment else ""
            _log.warning("%s: %d x %s%s (first: %s)", file, len(group), kind.name, treatment, group[0].detail)
=======
    return ground_truth(Classes(tuple(row.name for row in file.categories.values())), images)
>>>>>>> w-yolo


def read_rows(source: str | Path) -> dict[str, list[dict[str, Any]]]:
    """What `read` has no place for: the annotation rows of each image of a sound COCO file, by file name.

    Rows (`id`, `score` …, their masks left out) are in the order of `read`'s instances.

    Raises:
        MissingInputError, DataError: the file is missing, or cannot be read.
    """
    data = load(locate(source), raise_error)
    names = {row["id"]: row["file_name"] for row in data["images"]}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for row in data["annotations"]:
        rows[names[row["image_id"]]].append({key: value for key, value in row.items() if key != "segmentation"})
    return rows


def label_of(one: TruthInstance, row: Mapping[str, Any]) -> Instance:
    """The label that `write` wrote, from its instance in `read` and its row in `read_rows`: scores and source as they
    were. A row without a score, which `write` makes none of, counts as sure."""
    further = {name: row[name] for name in ("mask_score", "stability", "source") if name in row}
    return Instance(one.class_index, one.rle, row.get("score", 1.0), **further)


<<<<<<< HEAD
def raise_error(problem: Problem) -> None:
    """A `Note` that raises DataError for the first error, and lets warnings pass."""
=======
def align(truth: GroundTruth, classes: Classes) -> GroundTruth:
    """The gold set with `classes` for its classes, matched by name without regard to case and space.

    Annotations of classes that are not in `classes` are left out.

    Raises:
        DataError: no class is in both.
    """
    exact = {name: index for index, name in reversed(list(enumerate(classes.names)))}
    loose = {_loose(name): index for index, name in reversed(list(enumerate(classes.names)))}
    index = [exact.get(name, loose.get(_loose(name))) for name in truth.classes.names]
    if all(new is None for new in index):
        raise DataError(
            f"No class of the gold set {list(truth.classes.names)} is among the classes {list(classes.names)}.",
            "Name the classes in the ontology as the gold set names them.",
        )
    images = []
    for image in truth.images:
        moved = ((index[instance.class_index], instance) for instance in image.instances)
        kept = tuple(replace(instance, class_index=new) for new, instance in moved if new is not None)
        images.append(replace(image, instances=kept))
    return ground_truth(classes, tuple(images))


def to_dataset(truth: GroundTruth, area_from: Literal["file", "mask"] = "file") -> dict[str, Any]:
    """The gold set as pycocotools' dataset dictionary: ids from 1 in the order of `truth`, masks as compressed RLE.

    `area` and `bbox` are the stated ones where there are any; with `area_from` "mask" `area` is always the mask's.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(truth.images, start=1):
        images.append({"id": image_id, "file_name": image.image_id, "height": image.height, "width": image.width})
        for instance in image.instances:
            stated = instance.area if area_from == "file" else None
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": instance.class_index + 1,
                    "segmentation": segmentations.to_json(instance.rle),
                    "area": masks.area(instance.rle) if stated is None else stated,
                    "bbox": list(instance.bbox_xywh or masks.bbox_xywh(instance.rle)),
                    "iscrowd": int(instance.crowd),
                }
            )
    categories = category_rows(truth.classes)
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def to_results(predictions: Sequence[ImagePredictions], gold: GroundTruth | str | Path) -> list[dict[str, Any]]:
    """Predictions as COCO results rows, without `bbox`: pycocotools' `loadRes` would take `area` from it
    (https://github.com/cocodataset/cocoapi/issues/36).

    The ids are those of `to_dataset(gold)`, or, where `gold` names a COCO file, those of the file.

    Raises:
        DataError: an image or class is not in the gold set.
    """
    ids = _Ids.of(gold)
    rows = []
    for prediction in predictions:
        if prediction.image_id not in ids.images:
            raise DataError(f"Image {prediction.image_id!r} of the predictions is not in the gold set.")
        for instance in prediction.instances:
            if not 0 <= instance.class_index < len(ids.categories):
                raise DataError(
                    f"Image {prediction.image_id!r}: the gold set has {len(ids.categories)} classes, "
                    f"and a prediction is of class index {instance.class_index}."
                )
            rows.append(
                {
                    "image_id": ids.images[prediction.image_id][0],
                    "category_id": ids.categories[instance.class_index],
                    "segmentation": segmentations.to_json(instance.rle),
                    "score": float(instance.score),
                }
            )
    return rows


def write_results(path: Path, predictions: Sequence[ImagePredictions], gold: GroundTruth | str | Path) -> None:
    """Write predictions as a COCO results file, with the ids of `to_results`.

    Raises:
        DataError: as `to_results`.
    """
    rows = ",\n".join(dumps(row) for row in to_results(predictions, gold))
    write_text(path, f"[\n{rows}\n]\n")


def read_results(path: str | Path, gold: GroundTruth | str | Path) -> tuple[ImagePredictions, ...]:
    """The predictions of a COCO results file for every image of the gold set, in its order.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is not a results file with masks, or not one of this gold set.
    """
    path = locate(path)
    rows = load(path, _raise_error)
    if not isinstance(rows, list):
        raise DataError(f"{path} must hold a list of results, not {type(rows).__name__}.")
    ids = _Ids.of(gold)
    sizes = {image_id: (name, height, width) for name, (image_id, height, width) in ids.images.items()}
    index = {category_id: index for index, category_id in enumerate(ids.categories)}
    found: dict[str, list[Instance]] = {name: [] for name in ids.images}
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}: result {number} must be an object, not {type(row).__name__}.")
        image_id, category_id, score = row.get("image_id"), row.get("category_id"), as_number(row.get("score"))
        if type(image_id) is not int or image_id not in sizes:
            raise DataError(f"{path}: `image_id` of result {number} is not in the gold set.")
        if type(category_id) is not int or category_id not in index:
            raise DataError(f"{path}, image id {image_id}: `category_id` of result {number} is not in the gold set.")
        if score is None:
            raise DataError(f"{path}, image id {image_id}: `score` of result {number} must be a number.")
        name, height, width = sizes[image_id]
        try:
            rle = segmentations.parse(row.get("segmentation"), height, width)
        except ValueError as error:
            raise DataError(f"{path}, image id {image_id}, result {number}: {error}.") from error
        found[name].append(Instance(index[category_id], rle, score))
    return tuple(ImagePredictions(name, tuple(instances)) for name, instances in found.items())


@dataclass(frozen=True, slots=True)
class _Ids:
    """A gold set's ids: {image's file name: (image id, height, width)}, and each class index's category id."""

    images: Mapping[str, tuple[int, int, int]]
    categories: Sequence[int]

    @classmethod
    def of(cls, gold: GroundTruth | str | Path) -> _Ids:
        """Those of `to_dataset`, or those that stand in a file."""
        if isinstance(gold, GroundTruth):
            sizes = {image.image_id: (at, image.height, image.width) for at, image in enumerate(gold.images, start=1)}
            return cls(sizes, [row["id"] for row in category_rows(gold.classes)])
        file = parse(locate(gold), _raise_error)
        stated = {image.file_name: (image.id, image.height, image.width) for image in file.images.values()}
        return cls(stated, list(file.categories))


def _raise_error(problem: Problem) -> None:
>>>>>>> w-yolo
    if problem.severity == "error":
        raise DataError(f"{problem.place}: {problem.message}.", "`coco.validate` lists every problem of a file.")


<<<<<<< HEAD
def _truth_instance(row: Annotation, index: Mapping[FileId, int]) -> TruthInstance:
    return TruthInstance(index[row.category], row.rle, row.crowd, row.area, row.bbox_xywh, row.polygons, row.id)
=======
def _truth_instance(row: Annotation, index: Mapping[int, int]) -> TruthInstance:
    return TruthInstance(index[row.category_id], row.rle, row.crowd, row.area, row.bbox_xywh, row.polygons)


def ground_truth(classes: Classes, images: tuple[TruthImage, ...]) -> GroundTruth:
    """The gold set with its fingerprint, which depends on neither where the files lie nor the images' order."""
    content = {
        image.image_id: (image.height, image.width, [_content(instance) for instance in image.instances])
        for image in images
    }
    return GroundTruth(classes, images, fingerprint(classes.names, content))


def _content(instance: TruthInstance) -> tuple[object, ...]:
    counts = instance.rle.counts.decode("ascii")
    return (instance.class_index, counts, instance.crowd, instance.area, instance.bbox_xywh)


def _loose(name: str) -> str:
    return " ".join(name.casefold().split())
>>>>>>> w-yolo
