"""How well a student agrees with labels that it never saw: which classes it knows, and from which score on.

The scores of a student that was trained on few images are low for some classes and high for others, and differ from
student to student. Each is compared with the threshold of its own class and student.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core.types import GroundTruth, ImagePredictions, Instance
from ..evaluation import evaluate

# A class of a student with a lower F1 than this disagrees with more labels than it agrees with: its disagreement says
# nothing. With fewer labels than this, F1 at the best threshold is chance; see `measure_students`.
LEAST_F1 = 0.5
FEWEST_LABELS = 5
_EDGE = 1e-6


@dataclass(frozen=True)
class StudentAgreement:
    """The agreement of one student with the labels of the images that it never saw.

    `ap50` is the mask AP at IoU 0.5 of the student against the labels; None if it is undefined. `classes` has per class
    name {"f1", "confidence", "labels", "tested"}: the best F1 at IoU 0.5, the score threshold that gives it, both None
    where undefined, the number of labels, and that of the labels which the first two are computed from (see
    `measure_students`).
    """

    images: int
    ap50: float | None
    classes: Mapping[str, Mapping[str, float | int | None]]

    @classmethod
    def measure(cls, labels: GroundTruth, predictions: Sequence[ImagePredictions]) -> StudentAgreement:
        """The agreement of predictions with labels; the predictions are those of a model that did not see these."""
        report = evaluate(labels, predictions)
        rows = {
            name: {
                "f1": row["best_f1"],
                "confidence": row["best_confidence"],
                "labels": row["instances"],
                "tested": row["instances"],
            }
            for name, row in report.per_class.items()
        }
        return cls(len(labels.images), report.mask["ap50"], rows)

    @property
    def known(self) -> tuple[str, ...]:
        """The classes that the student knows: F1 of at least `LEAST_F1` on at least `FEWEST_LABELS` labels."""
        return tuple(name for name, row in self.classes.items() if _is_known(row))

    @property
    def untested(self) -> tuple[str, ...]:
        """The classes with fewer than `FEWEST_LABELS` labels: nobody can say whether the student knows them."""
        return tuple(name for name, row in self.classes.items() if (row["tested"] or 0) < FEWEST_LABELS)

    def with_tested(self, name: str, whole: StudentAgreement) -> StudentAgreement:
        """With the F1 and the threshold that several students have together in the class `name`."""
        row = {**self.classes[name], **{key: whole.classes[name][key] for key in ("f1", "confidence", "tested")}}
        return replace(self, classes={**self.classes, name: row})

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "images": self.images,
            "ap50": self.ap50,
            "classes": {name: {**row, "known": _is_known(row)} for name, row in self.classes.items()},
        }

    def recalibrated(self, predictions: Sequence[ImagePredictions]) -> list[ImagePredictions]:
        """The predictions with scores of which 0.5 is the threshold of the class; classes that it does not know are
        left out.

        The log-odds of a score are reduced by those of the threshold, so that the order within a class stays.
        """
        rows = list(self.classes.values())
        shift = {at: _log_odds(row["confidence"] or 0.0) for at, row in enumerate(rows) if _is_known(row)}

        def moved(one: Instance) -> Instance:
            return replace(one, score=1 / (1 + math.exp(shift[one.class_index] - _log_odds(one.score))))

        return [
            replace(image, instances=tuple(moved(one) for one in image.instances if one.class_index in shift))
            for image in predictions
        ]


def measure_students(
    labels: Sequence[GroundTruth], predictions: Sequence[Sequence[ImagePredictions]]
) -> list[StudentAgreement]:
    """The agreement of each student with its labels, which are of the same classes.

    A class of which several students have fewer than `FEWEST_LABELS` labels is tested on those of these students
    together, with one threshold for all of them: a rare class would never be judged otherwise.
    """
    students = [StudentAgreement.measure(*one) for one in zip(labels, predictions, strict=True)]
    of_group: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name in students[0].classes if students else ():
        group = tuple(at for at, one in enumerate(students) if name in one.untested)
        if len(group) > 1:
            of_group[group].append(name)
    for group, names in of_group.items():
        images = tuple(image for at in group for image in labels[at].images)
        found = [one for at in group for one in predictions[at]]
        whole = StudentAgreement.measure(replace(labels[group[0]], images=images), found)
        for name in names:
            for at in group:
                students[at] = students[at].with_tested(name, whole)
    return students


def _is_known(row: Mapping[str, float | int | None]) -> bool:
    f1 = row["f1"]
    return f1 is not None and f1 >= LEAST_F1 and (row["tested"] or 0) >= FEWEST_LABELS


def _log_odds(score: float) -> float:
    inside = min(max(score, _EDGE), 1 - _EDGE)
    return math.log(inside / (1 - inside))
