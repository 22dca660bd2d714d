"""Coverage: what of a gold set and of predictions is not scored, or cannot be found, as counts and as sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..coco import ClassMatch
from ..core.plain_text import counted, short_list
from ..core.types import GroundTruth, ImagePredictions


@dataclass(frozen=True)
class Coverage:
    """What an evaluation leaves out. All are counts of the gold set unless they say otherwise.

    `crowds` are crowd regions, which count neither as found nor as missed; `all_crowds` means that there is nothing
    else. `images_without_objects` have no object of the scored classes; `false_alarms_without_objects` are the
    detections on them, of any class, at or above the `confidence` of the best F1 (with any score if there is none).
    `images_over_limit` have more objects of a class than `max_detections`: `objects_over_limit` of these cannot be
    found, `most_objects` is the largest number in one image, and `detections_over_limit` are the detections in such
    images and classes that are not scored. `classes_lacking` maps each class that the model lacks to its number of
    objects, `images_of_classes_lacking` have no other objects, `classes_folded` maps a class of the model to the gold
    classes that it covers, and `classes_without_objects` are scored classes without an object: their
    `detections_without_objects` are not scored.
    """

    crowds: int = 0
    all_crowds: bool = False
    images: int = 0
    images_without_objects: int = 0
    confidence: float | None = None
    false_alarms_without_objects: int = 0
    max_detections: int = 100
    images_over_limit: int = 0
    objects_over_limit: int = 0
    most_objects: int = 0
    detections_over_limit: int = 0
    classes_lacking: Mapping[str, int] = field(default_factory=dict)
    images_of_classes_lacking: int = 0
    classes_folded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    classes_without_objects: tuple[str, ...] = ()
    detections_without_objects: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def measure(
    truth: GroundTruth,
    predictions: Sequence[ImagePredictions],
    match: ClassMatch | None,
    max_detections: int,
    confidence: float | None,
) -> Coverage:
    """The coverage of an aligned gold set; `confidence` is the threshold with the best F1."""
    match = match or ClassMatch(())
    objects = {
        image.image_id: Counter(one.class_index for one in image.instances if not one.crowd) for image in truth.images
    }
    crowds = sum(one.crowd for image in truth.images for one in image.instances)
    total = sum(sum(counts.values()) for counts in objects.values())
    empty = {image.image_id for image in truth.images if not image.instances}
    over = {
        (name, index): count
        for name, counts in objects.items()
        for index, count in counts.items()
        if count > max_detections
    }
    found: Counter[tuple[str, int]] = Counter()
    for one in predictions:
        found.update((one.image_id, instance.class_index) for instance in one.instances)
    alarms = Counter(
        (one.image_id, instance.class_index)
        for one in predictions
        if one.image_id in empty
        for instance in one.instances
        if instance.score >= (confidence or 0.0)
    )
    held = {index for counts in objects.values() for index in counts}
    classless = sum(count for (_, index), count in found.items() if index not in held)
    return Coverage(
        crowds=crowds,
        all_crowds=bool(crowds) and not total,
        images=len(truth.images),
        images_without_objects=len(empty),
        confidence=confidence,
        false_alarms_without_objects=sum(min(count, max_detections) for count in alarms.values()),
        max_detections=max_detections,
        images_over_limit=len({name for name, _ in over}),
        objects_over_limit=sum(count - max_detections for count in over.values()),
        most_objects=max(over.values(), default=0),
        detections_over_limit=sum(max(0, found[key] - max_detections) for key in over),
        classes_lacking=dict(match.lacking),
        images_of_classes_lacking=match.images_of_lacking,
        classes_folded=dict(match.folded),
        classes_without_objects=tuple(name for at, name in enumerate(truth.classes.names) if at not in held),
        detections_without_objects=classless,
    )


def sentences(coverage: Coverage, reference: str = "gold") -> tuple[str, ...]:
    """What the scores leave out, in a sentence or two each.

    `reference` names what the predictions are compared with: the "gold" set, or the "test" set of the base's labels.
    """
    return tuple(
        sentence
        for sentence in (
            _lacking(coverage, reference),
            _folded(coverage, reference),
            _without_objects(coverage, reference),
            _crowds(coverage, reference),
            _over_limit(coverage),
            _negatives(coverage, reference),
        )
        if sentence
    )


def _lacking(c: Coverage, reference: str) -> str:
    if not c.classes_lacking:
        return ""
    total = sum(c.classes_lacking.values())
    names = short_list([f"{name}: {count}" for name, count in c.classes_lacking.items()])
    text = (
        f"The model lacks {counted(len(c.classes_lacking), 'class', 'classes')} of the {reference} set ({names}): "
        f"{counted(total, 'object')} of them {'is' if total == 1 else 'are'} not scored."
    )
    if c.images_of_classes_lacking:
        verb = "has no other object and counts" if c.images_of_classes_lacking == 1 else "have no others and count"
        text += f" {counted(c.images_of_classes_lacking, 'image')} {verb} as without objects."
    return text


def _folded(c: Coverage, reference: str) -> str:
    parts = [f"{', '.join(map(repr, names))} count as {name!r}" for name, names in c.classes_folded.items()]
    return f"Classes of the {reference} set that are one class of the model: {short_list(parts)}." if parts else ""


def _without_objects(c: Coverage, reference: str) -> str:
    if not c.detections_without_objects or c.all_crowds:
        return ""
    number = counted(len(c.classes_without_objects), "class", "classes")
    detections = counted(c.detections_without_objects, "detection")
    verb = "is" if c.detections_without_objects == 1 else "are"
    return (
        f"The {reference} set has no object of {number} ({short_list(c.classes_without_objects)}): {detections} of "
        f"{'it' if len(c.classes_without_objects) == 1 else 'them'} {verb} not scored."
    )


def _crowds(c: Coverage, reference: str) -> str:
    if not c.crowds:
        return ""
    what = "All objects" if c.all_crowds else f"{counted(c.crowds, 'object')}"
    verb = "is a crowd region" if c.crowds == 1 and not c.all_crowds else "are crowd regions"
    count = f" ({c.crowds})" if c.all_crowds else ""
    nothing = ", so nothing is scored" if c.all_crowds else ""
    return (
        f"{what} of the {reference} set{count} {verb} (iscrowd 1), neither found nor missed{nothing}. CVAT marks every "
        "brush mask as a crowd; `--crowds objects` scores them as objects."
    )


def _over_limit(c: Coverage) -> str:
    if not c.images_over_limit:
        return ""
    some = "1 image has" if c.images_over_limit == 1 else f"{c.images_over_limit} images have"
    text = (
        f"{some} more objects of a class than the {c.max_detections} detections that are scored "
        f"(up to {c.most_objects}): {counted(c.objects_over_limit, 'object')} cannot be found"
    )
    if c.detections_over_limit:
        verb = "is" if c.detections_over_limit == 1 else "are"
        text += f", and {counted(c.detections_over_limit, 'detection')} there {verb} not scored"
    return f"{text}. `--max-detections {c.most_objects}` scores them all."


def _negatives(c: Coverage, reference: str) -> str:
    if not c.images_without_objects:
        return ""
    images = f"{c.images_without_objects} of {counted(c.images, f'{reference} image')}"
    verb = "has" if c.images_without_objects == 1 else "have"
    alarms = counted(c.false_alarms_without_objects, "false alarm")
    where = "with any score" if c.confidence is None else f"at a confidence of {c.confidence:.2f} or more"
    return f"{images} {verb} no object: {alarms} there {where}."
