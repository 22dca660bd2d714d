"""Measures whether `audit` finds errors: in the first 10% of its order, against a random order.

    OMP_NUM_THREADS=1 python benchmarks/audit.py [--data ../shared/data] [--work FOLDER] [--sets scenes ...]
    autodistill-seg demo --output DEMO
    OMP_NUM_THREADS=2 python benchmarks/audit.py --sets mushrooms fruits_nuts --weights DEMO/training/CHECKPOINT

Masks of people, or exact ones, are labels with known errors: some are dropped, shifted, of another class, or copied to
an empty place. `--rates low` changes 11% of them, `high` 35%. A small RF-DETR Seg with the demo's options is trained
for each fold (`--folds`, two): from scratch, or from the weights of `--weights`. A look at a label finds its error; a
look at a proposed object finds a dropped one if their mask IoU is at least 0.5. `random` is what so many looks at
labels and dropped objects find on average, `oracle` looks at errors alone. With `--rates base` the labels are those of
the embedded threshold base, with score and stability, and its errors are its own: see benchmarks/review_order.py.

Photos are cut into tiles, because a student of 144 pixels that is trained for minutes does not see small objects among
many. Tiles do not overlap, and are chosen by their true masks: one to four objects, none of which touch, each large
enough and cut by the edge by at most 70% of it. Of the three copies that the set of mushrooms has of a photo one is
used; photos taken right after each other show the same bed, and stay in one fold. Mushrooms are of one class, so none
gets another. The students are kept in FOLDER and used again.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import AUDIT_FOLDS, PipelineConfig, parse, with_overrides
from autodistill_rfdetr_seg.core.plain_text import number, table
from autodistill_rfdetr_seg.core.types import GroundTruth, Rle, TruthImage
from autodistill_rfdetr_seg.images.image_opening import open_rgb
from autodistill_rfdetr_seg.images.rgb_image import write_png
from autodistill_rfdetr_seg.labels.base_source import BaseSource, describe_model, source_of
from autodistill_rfdetr_seg.pipeline.demo_run import demo_config
from autodistill_rfdetr_seg.pipeline.demo_scenes import write_scenes
from autodistill_rfdetr_seg.pipeline.label_audit import audit_labels
from autodistill_rfdetr_seg.pipeline.stages import build_stage, label_stage
from autodistill_rfdetr_seg.readers.image_sources import Inputs
from autodistill_rfdetr_seg.review.audit_record import AuditItem
from autodistill_rfdetr_seg.system.config_files import save_run_config
from autodistill_rfdetr_seg.system.run_folder import RunFolder

RATES = {
    "low": {"dropped": 0.03, "shifted": 0.03, "class": 0.03, "spurious": 0.02},
    "high": {"dropped": 0.10, "shifted": 0.10, "class": 0.10, "spurious": 0.05},
}
# Those of fruits_nuts, as tiles, have not been measured.
EPOCHS = {"scenes": 22, "mushrooms": 12, "fruits_nuts": 16}
BASES: dict[str, dict[str, Any]] = {
    "mushrooms": {"ontology": {"bright": "Mushroom"}, "args": {}},
    "fruits_nuts": {
        "ontology": {"#6b2a28:25": "date", "#8a5a40:20": "hazelnut", "#524d40:20": "fig"},
        "args": {"min_area": 0.001, "split": 0.5, "opening": 5},
    },
}
FRACTION = 0.1
SAME = 0.5
SHIFT = 0.4
# Pixels of a tile's side, and how many of a photo at most.
TILE = {"mushrooms": 96, "fruits_nuts": 288}
TILES = 8
# Objects of a tile at most; of each at least this part is in the tile, and the root of its area there is at least this
# part of the tile's side.
MOST_OBJECTS, LEAST_PART, LEAST_SIDE = 4, 0.3, 0.18
# Pixels around each object in which no other begins: a student that is trained for minutes does not separate objects of
# one color that touch.
APART = 4
# Fewer pixels of an object in a tile are not labeled.
LEAST_PIXELS = 25
# Photos whose numbers differ by no more were taken right after each other.
NEAR = 5


@dataclass(frozen=True)
class Mark:
    """A label: its class, its mask, and the kind of its error ("" without one)."""

    class_index: int
    rle: Rle
    error: str = ""


@dataclass(frozen=True)
class LabelSet:
    """Labels of images by image id, and the dropped objects as (image id, mark)."""

    marks: Mapping[str, Sequence[Mark]]
    dropped: Sequence[tuple[str, Mark]]


@dataclass(frozen=True)
class Source:
    """Images with true masks, and the photo that each is a tile of."""

    truth: GroundTruth
    groups: Mapping[str, str]


def find_source(name: str, data: Path, work: Path) -> Source:
    """The images of a set, drawn or cut into `work` where they are not there yet."""
    if name == "scenes":
        if not (work / "scenes").is_dir():
            write_scenes(work / "scenes", 80)
        return Source(coco.read(work / "scenes" / "gold", quiet=True), {})
    if not (work / name).is_dir():
        cut_tiles(photos(name, data), work / name, TILE[name])
    truth = coco.read(work / name, quiet=True)
    return Source(truth, groups_of([image.image_id for image in truth.images]))


def photos(name: str, data: Path) -> GroundTruth:
    """The photos of a set, one of those that are copies of each other: they have the same name before "_jpeg"."""
    splits = ("train", "valid", "test") if name == "mushrooms" else ("train",)
    truths = [coco.read(data / name / split, quiet=True) for split in splits]
    first: dict[str, TruthImage] = {}
    for image in sorted((image for truth in truths for image in truth.images), key=lambda image: image.image_id):
        first.setdefault(image.image_id.split("_jpeg")[0], image)
    return replace(truths[0], images=tuple(first.values()))


def cut_tiles(truth: GroundTruth, folder: Path, side: int) -> None:
    """Writes tiles of the photos with the masks in them, as COCO. The names begin with the photo's number."""
    folder.mkdir(parents=True)
    tiles = [
        tile
        for at, image in enumerate(truth.images)
        for tile in tiles_of(image, f"{number_of(image, at):04d}", folder, side)
    ]
    coco.write(folder / coco.ANNOTATIONS, tiles, truth.classes, {})


def number_of(image: TruthImage, at: int) -> int:
    """The number that the camera gave a photo; without one, a number that is near to no other."""
    named = re.match(r"IMG_(\d+)", image.image_id)
    return int(named[1]) if named else at * (NEAR + 1)


def groups_of(names: Sequence[str]) -> dict[str, str]:
    """The group of each tile: photos taken right after each other are one."""
    group, before, result = "", -NEAR - 1, {}
    for name in sorted(names):
        at = int(name.split("_")[0])
        group = group if at - before <= NEAR else name
        result[name], before = group, at
    return result


def tiles_of(image: TruthImage, stem: str, folder: Path, side: int) -> list[tuple[str, TruthImage]]:
    """Some tiles of a photo, written to `folder`."""
    pixels = open_rgb(image.path)
    dense = np.stack([masks.decode(one.rle) for one in image.instances])
    tiles = []
    for top, left in chosen_corners(dense, side):
        window = np.s_[top : top + side, left : left + side]
        name = f"{stem}_{top:04d}_{left:04d}.png"
        write_png(folder / name, pixels[window].copy())
        inside = [
            replace(one, rle=masks.encode(mask[window]), area=None, bbox_xywh=None)
            for one, mask in zip(image.instances, dense, strict=True)
            if mask[window].sum() >= LEAST_PIXELS
        ]
        size = {"height": side, "width": side, "instances": tuple(inside)}
        tiles.append((name, replace(image, image_id=name, path=folder / name, **size)))
    return tiles


def chosen_corners(dense: npt.NDArray[np.bool_], side: int) -> list[tuple[int, int]]:
    """Corners (top, left) of tiles that do not overlap; each has a few objects, large and mostly inside."""
    height, width = dense.shape[1:]
    whole, taken = dense.sum(axis=(1, 2)), np.zeros((height, width), dtype=bool)
    corners = []
    for top in range(0, height - side + 1, side // 4):
        for left in range(0, width - side + 1, side // 4):
            window = np.s_[..., top : top + side, left : left + side]
            pixels = dense[window].sum(axis=(1, 2))
            seen = pixels >= LEAST_PIXELS
            few = 1 <= seen.sum() <= MOST_OBJECTS
            large = (pixels[seen] >= LEAST_PART * whole[seen]) & (pixels[seen] >= (LEAST_SIDE * side) ** 2)
            if few and large.all() and not taken[window].any() and are_apart(dense[window][seen]):
                taken[window] = True
                corners.append((top, left))
    chosen = sorted(np.random.default_rng(0).permutation(len(corners))[:TILES].tolist())
    return [corners[at] for at in chosen]


def are_apart(dense: npt.NDArray[np.bool_]) -> bool:
    """Whether more than `APART` pixels are between any two of the masks (N, H, W)."""
    import cv2

    kernel = np.ones((APART + 1, APART + 1), dtype=np.uint8)
    grown = [cv2.dilate(mask.astype(np.uint8), kernel) for mask in dense]
    return int(np.sum(grown, axis=0).max()) <= 1


def inject(truth: GroundTruth, rates: Mapping[str, float], seed: int = 0) -> LabelSet:
    """The true masks as labels with errors of each kind in the given parts of the objects."""
    rng = np.random.default_rng(seed)
    marks = {image.image_id: [Mark(one.class_index, one.rle) for one in image.instances] for image in truth.images}
    places = [(name, at) for name in sorted(marks) for at in range(len(marks[name]))]
    order = iter([places[at] for at in rng.permutation(len(places))])
    classes = len(truth.classes.names)
    kinds = [kind for kind in ("dropped", "shifted", "class") if kind != "class" or classes > 1]
    kind_of = {next(order): kind for kind in kinds for _ in range(round(rates[kind] * len(places)))}
    result: dict[str, list[Mark]] = {name: [] for name in marks}
    dropped = []
    for name, at in places:
        mark, kind = marks[name][at], kind_of.get((name, at), "")
        if kind == "dropped":
            dropped.append((name, replace(mark, error=kind)))
            continue
        if kind == "shifted":
            mark = replace(mark, rle=shifted(mark.rle, rng), error=kind)
        elif kind == "class":
            mark = replace(mark, class_index=(mark.class_index + 1 + int(rng.integers(classes - 1))) % classes)
            mark = replace(mark, error=kind)
        result[name].append(mark)
    missing = round(rates["spurious"] * len(places))
    while missing:
        name = sorted(marks)[int(rng.integers(len(marks)))]
        source, at = places[int(rng.integers(len(places)))]
        others = [one.rle for one in (*marks[name], *result[name])]
        copied = pasted(marks[source][at].rle, others, rng)
        if copied is not None:
            result[name].append(Mark(marks[source][at].class_index, copied, "spurious"))
            missing -= 1
    return LabelSet(result, dropped)


def shifted(rle: Rle, rng: np.random.Generator) -> Rle:
    """The mask, moved by 40% of the root of its box's area in a direction that leaves 70% of it in the image."""
    mask = masks.decode(rle)
    _, _, width, height = masks.bbox_xywh(rle)
    far = SHIFT * np.sqrt(width * height)
    while True:
        angle = rng.uniform(0, 2 * np.pi)
        moved = translated(mask, round(far * np.sin(angle)), round(far * np.cos(angle)))
        if moved.sum() > 0.7 * mask.sum():
            return masks.encode(moved)


def translated(mask: npt.NDArray[np.bool_], down: int, right: int) -> npt.NDArray[np.bool_]:
    """The mask moved within its frame."""
    result = np.zeros_like(mask)
    height, width = mask.shape
    to = np.s_[max(0, down) : min(height, height + down), max(0, right) : min(width, width + right)]
    result[to] = mask[max(0, -down) : min(height, height - down), max(0, -right) : min(width, width - right)]
    return result


def pasted(rle: Rle, others: Sequence[Rle], rng: np.random.Generator) -> Rle | None:
    """The mask at a random place of its image's size; None if it would touch one of the others."""
    mask = masks.decode(rle)
    rows, columns = np.nonzero(mask)
    crop = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    top, left = (int(rng.integers(whole - part + 1)) for whole, part in zip(mask.shape, crop.shape, strict=True))
    result = np.zeros_like(mask)
    result[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    return None if any((masks.decode(other) & result).any() for other in others) else masks.encode(result)


class InjectedLabels:
    """A base that answers with given labels, by the name of the image: see `for_images` in bases/contract.py."""

    def __init__(self, names: Sequence[str], marks: Mapping[str, Sequence[Mark]]) -> None:
        from autodistill.detection import CaptionOntology

        self.ontology = CaptionOntology({name: name for name in names})
        self._marks = marks

    def for_images(self, records: Sequence[Any]) -> Any:
        """What answers for these images."""
        return _Answer([self._marks[record.path] for record in records])

    def predict(self, input: Any) -> Any:
        """Not used: the labels depend on the image's name."""
        raise NotImplementedError


class _Answer:
    def __init__(self, answers: Sequence[Sequence[Mark]]) -> None:
        self._answers = iter(answers)

    def predict(self, image: Any) -> Any:
        import supervision as sv

        marks = next(self._answers)
        if not marks:
            return sv.Detections.empty()
        dense = np.stack([masks.decode(one.rle) for one in marks])
        return sv.Detections(
            xyxy=sv.mask_to_xyxy(dense).astype(float),
            mask=dense,
            class_id=np.array([one.class_index for one in marks]),
            confidence=np.ones(len(marks)),
        )


def make_run(
    name: str, rates: str, source: Source, work: Path, training: Mapping[str, Any]
) -> tuple[PipelineConfig, RunFolder, LabelSet | None]:
    """A run with labels and a dataset; the injected labels, None for a base's own. `training` are options by name."""
    images = {image.image_id: image.path for image in source.truth.images}
    names = source.truth.classes.names
    injected = None if rates == "base" else inject(source.truth, RATES[rates])
    target = demo_config(Path()).target.model_dump()
    data: dict[str, Any] = {"images": str(next(iter(images.values())).parent), "target": target}
    if injected is None:
        own = BASES[name]
        data |= {
            "ontology": own["ontology"],
            "base": {"name": "threshold", "args": own["args"], "stability": True},
            "refine": {"confidence": 0.2},
        }
        base_source = None
    else:
        base = InjectedLabels(names, injected.marks)
        off = {"nms_iou": None, "nms_iom": None, "agnostic_nms_iou": None}
        data |= {"ontology": {one: one for one in names}, "base": describe_model(base).model_dump(), "refine": off}
        base_source = BaseSource.from_model(base)
    config = parse(with_overrides(data, training))
    run = RunFolder(work / f"run_{name}_{rates}")
    run.root.mkdir(parents=True, exist_ok=True)
    save_run_config(run, config)
    items = sorted(((path, image) for image, path in images.items()), key=lambda item: item[1])
    inputs = Inputs(Path(data["images"]), items, source.groups)
    label_stage(config, run, base_source or source_of(config), inputs, progress=False)
    build_stage(config, run, progress=False)
    return config, run, injected


def errors_of(run: RunFolder, items: Sequence[AuditItem], truth: GroundTruth, injected: LabelSet | None) -> list[str]:
    """What a look at each item finds: the id of an error, or "" if it finds none."""
    masks_of = _label_masks(run)
    missing = missing_objects(masks_of, truth, injected)
    truth_of = {image.image_id: image for image in truth.images}
    found = []
    for item in items:
        if item.annotation_id is None:
            assert item.rle is not None
            iou = masks.iou_matrix([item.rle], [rle for _, rle in missing.get(item.image, [])])
            hit = iou.size and iou.max() >= SAME
            found.append(missing[item.image][int(iou.argmax())][0] if hit else "")
            continue
        rle = masks_of[item.split, item.annotation_id][1]
        if injected is None:
            wrong = _is_wrong(rle, item.class_name, truth_of[item.image], truth.classes.names)
        else:
            marks = injected.marks[item.image]
            wrong = marks[int(masks.iou_matrix([rle], [one.rle for one in marks]).argmax())].error
        found.append(f"{wrong} {item.split}:{item.annotation_id}" if wrong else "")
    return found


def _is_wrong(rle: Rle, name: str, image: TruthImage, names: Sequence[str]) -> str:
    """As in benchmarks/review_order.py: "label" unless its best mask has IoU 0.5 and its class."""
    iou = masks.iou_matrix([rle], [one.rle for one in image.instances])
    right = iou.size and iou.max() >= SAME and names[image.instances[int(iou.argmax())].class_index] == name
    return "" if right else "label"


def _label_masks(run: RunFolder) -> dict[tuple[str, int], tuple[str, Rle]]:
    """Image and mask of each label of a dataset by split and annotation id."""
    from autodistill_rfdetr_seg.review.review_order import review_candidates

    return {
        (one.entry.split, one.entry.annotation_id or 0): (one.entry.image, one.instance.rle)
        for one in review_candidates(run)
    }


def missing_objects(
    labels: Mapping[tuple[str, int], tuple[str, Rle]], truth: GroundTruth, injected: LabelSet | None
) -> dict[str, list[tuple[str, Rle]]]:
    """The objects without a label by image, each with an id: those dropped, or those that no label overlaps."""
    result: dict[str, list[tuple[str, Rle]]] = {}
    if injected is not None:
        for at, (name, mark) in enumerate(injected.dropped):
            result.setdefault(name, []).append((f"dropped {at}", mark.rle))
        return result
    of_image: dict[str, list[Rle]] = {}
    for name, rle in labels.values():
        of_image.setdefault(name, []).append(rle)
    for image in truth.images:
        iou = masks.iou_matrix([one.rle for one in image.instances], of_image.get(image.image_id, []))
        best = iou.max(axis=1, initial=0.0)
        lacking = [
            (f"missing {image.image_id} {at}", one.rle)
            for at, one in enumerate(image.instances)
            if best[at] < 0.1 and not one.crowd
        ]
        if lacking:
            result[image.image_id] = lacking
    return result


def measure(
    name: str, rates: str, data: Path, work: Path, training: Mapping[str, Any], folds: int, progress: bool
) -> list[str]:
    """The row of one set and setting."""
    source = find_source(name, data, work)
    config, run, injected = make_run(name, rates, source, work, training)
    started = time.perf_counter()
    audit = audit_labels(config, run, folds, progress=progress)
    minutes = (time.perf_counter() - started) / 60
    found = errors_of(run, audit.items, source.truth, injected)
    labels = [at for at, item in enumerate(audit.items) if item.annotation_id is not None]
    missing = sum(map(len, missing_objects(_label_masks(run), source.truth, injected).values()))
    total, errors = len(labels) + missing, sum(bool(found[at]) for at in labels) + missing
    looks = max(1, round(FRACTION * total))
    random = looks * errors / total
    hits = len({one for one in found[:looks] if one})
    kinds = Counter(one.split()[0] for one in set(found[:looks]) if one)
    defined = any(item.rank is not None for item in audit.items)
    scores = alone(audit.items, found, labels, looks)
    print(f"{name} {rates}: {dict(kinds)}, {minutes:.1f} minutes")
    for note in audit.notes:
        print(f"  {note}")
    ratio = number(hits / random if defined and random else None, ".1f")
    oracle = number(min(looks, errors) / random if random else None, ".1f")
    shown = [str(hits) if defined else "–", ratio, *scores]
    return [name, rates, str(total), str(errors), str(looks), f"{random:.1f}", *shown, oracle]


def alone(items: Sequence[AuditItem], found: Sequence[str], labels: Sequence[int], looks: int) -> list[str]:
    """The errors in the first looks by score alone and by stability alone; a dash where they order nothing."""
    result = []
    for field in ("score", "stability"):
        values = [getattr(items[at], field) for at in labels]
        if None in values or len(set(values)) < 2:
            result.append("–")
            continue
        order = sorted(range(len(labels)), key=lambda at: (values[at], items[labels[at]].image, at))
        result.append(str(sum(bool(found[labels[at]]) for at in order[:looks])))
    return result


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--work", type=Path, help="a folder for runs and students; a temporary one by default")
    parser.add_argument("--sets", nargs="+", choices=tuple(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--rates", nargs="+", choices=(*RATES, "base"), default=["low", "high"])
    parser.add_argument("--epochs", type=int, help=f"of the students, by default {EPOCHS}")
    parser.add_argument("--folds", type=int, default=AUDIT_FOLDS, help="students, each trained without one N-th")
    parser.add_argument("--weights", type=Path, help="a checkpoint of the demo to start from; from scratch by default")
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        pairs = [(name, rates) for rates in args.rates for name in args.sets if rates != "base" or name in BASES]
        rows = []
        for name, rates in pairs:
            training = {"target.epochs": args.epochs or EPOCHS[name]}
            if args.weights:
                training["target.model.pretrain_weights"] = str(args.weights.resolve())
            rows.append(measure(name, rates, args.data, work, training, args.folds, not args.quiet))
    head = ["set", "errors from", "labels and missing", "errors", "looks", "random", "audit", "ratio"]
    print(table([*head, "score", "stability", "oracle ratio"], rows))


if __name__ == "__main__":
    main()
