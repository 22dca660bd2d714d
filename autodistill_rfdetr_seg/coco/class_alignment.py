"""Makes gold sets as `GroundTruth`, and matches their classes by name with those of a model."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..core.errors import DataError
from ..core.name_keys import class_key
from ..core.types import Classes, FileId, GroundTruth, TruthImage, TruthInstance
from ..system.files import fingerprint_of_rows


@dataclass(frozen=True, slots=True)
class ClassMatch:
    """Which class of the model each class of a gold set is, and what of the gold set counts for nothing so.

    `indices` are class indices of the model in the order of the gold set's classes, None where the model lacks the
    class. `lacking` counts the objects of each such class by its name (0 too), `images_of_lacking` the images that
    hold objects of such classes alone. `folded` are the classes of the model that are several classes of the gold set.
    """

    indices: tuple[int | None, ...]
    lacking: Mapping[str, int] = field(default_factory=dict)
    images_of_lacking: int = 0
    folded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __add__(self, other: ClassMatch) -> ClassMatch:
        """The sum of the counts of two gold sets; `indices` are of one set, so the sum has none."""
        lacking = Counter(self.lacking)
        lacking.update(other.lacking)
        images = self.images_of_lacking + other.images_of_lacking
        return ClassMatch((), dict(lacking), images, {**self.folded, **other.folded})


def match_classes(truth: GroundTruth, classes: Classes) -> ClassMatch:
    """Matches classes by name; case and spaces are ignored if no name is exactly the same.

    Raises:
        DataError: no class is in both; or a class of the gold set matches two of `classes`.
    """
    exact = {name: index for index, name in reversed(list(enumerate(classes.names)))}
    loose: dict[str, list[int]] = {}
    for index, name in enumerate(classes.names):
        loose.setdefault(class_key(name), []).append(index)
    indices = []
    for name in truth.classes.names:
        near = [exact[name]] if name in exact else loose.get(class_key(name), [])
        if len({classes.names[index] for index in near}) > 1:
            raise DataError(
                f"The class {name!r} of the gold set matches each of {[classes.names[index] for index in near]}.",
                "Name it in the gold set exactly as in the ontology.",
            )
        indices.append(near[0] if near else None)
    if all(index is None for index in indices):
        raise DataError(
            f"No class of the gold set {list(truth.classes.names)} is among the classes {list(classes.names)}.",
            "Name the classes in the ontology as the gold set names them.",
        )
    held = Counter(instance.class_index for image in truth.images for instance in image.instances)
    names: dict[int, list[str]] = {}
    for name, found in zip(truth.classes.names, indices, strict=True):
        if found is not None:
            names.setdefault(found, []).append(name)
    return ClassMatch(
        tuple(indices),
        {name: held[at] for at, name in enumerate(truth.classes.names) if indices[at] is None},
        sum(
            bool(image.instances) and all(indices[instance.class_index] is None for instance in image.instances)
            for image in truth.images
        ),
        {classes.names[index]: tuple(several) for index, several in names.items() if len(several) > 1},
    )


def align(truth: GroundTruth, classes: Classes) -> GroundTruth:
    """The gold set with `classes` as its classes, matched by name as `match_classes` does.

    Annotations of classes that are not in `classes` are left out: `match_classes` counts them. A class that the gold
    set's file does not have gets a category id that is not used there.

    Raises:
        DataError: as `match_classes`.
    """
    index = match_classes(truth, classes).indices
    images = []
    for image in truth.images:
        moved = ((index[instance.class_index], instance) for instance in image.instances)
        kept = tuple(replace(instance, class_index=new) for new, instance in moved if new is not None)
        images.append(replace(image, instances=kept))
    return ground_truth(classes, tuple(images), _category_ids(truth.category_ids, index, len(classes.names)))


def _category_ids(own: Sequence[FileId], index: Sequence[int | None], count: int) -> tuple[FileId, ...]:
    if not own:
        return ()
    of_class: dict[int, FileId] = {}
    for number, new in zip(own, index, strict=True):
        if new is not None:
            of_class.setdefault(new, number)
    free = itertools.count(1 + max((number for number in own if isinstance(number, int)), default=0))
    return tuple(of_class[at] if at in of_class else next(free) for at in range(count))


def ground_truth(
    classes: Classes, images: tuple[TruthImage, ...], category_ids: tuple[FileId, ...] = ()
) -> GroundTruth:
    """The gold set with its fingerprint, which does not depend on the location of the files or the order of images."""
    of_name = {image.image_id: image for image in images}
    rows = (
        (name, (of_name[name].height, of_name[name].width, [_content(one) for one in of_name[name].instances]))
        for name in sorted(of_name)
    )
    return GroundTruth(classes, images, fingerprint_of_rows(classes.names, rows), category_ids)


def _content(instance: TruthInstance) -> tuple[object, ...]:
    counts = instance.rle.counts.decode("ascii")
    return (instance.class_index, counts, instance.crowd, instance.area, instance.bbox_xywh)
