"""Gold sets as `GroundTruth`, and their classes brought into another order by name."""

from __future__ import annotations

from dataclasses import replace

from ..errors import DataError
from ..files import fingerprint
from ..records import Classes, FileId, GroundTruth, TruthImage, TruthInstance


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


def ground_truth(
    classes: Classes, images: tuple[TruthImage, ...], category_ids: tuple[FileId, ...] = ()
) -> GroundTruth:
    """The gold set with its fingerprint, which depends on neither where the files lie nor the images' order."""
    content = {
        image.image_id: (image.height, image.width, [_content(instance) for instance in image.instances])
        for image in images
    }
    return GroundTruth(classes, images, fingerprint(classes.names, content), category_ids)


def _content(instance: TruthInstance) -> tuple[object, ...]:
    counts = instance.rle.counts.decode("ascii")
    return (instance.class_index, counts, instance.crowd, instance.area, instance.bbox_xywh)


def _loose(name: str) -> str:
    return " ".join(name.casefold().split())
