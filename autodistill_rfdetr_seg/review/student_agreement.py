"""How well a student agrees with labels that it never saw: which classes it knows, and from which score on.

The scores of a student that was trained on few images are low for some classes and high for others, and differ from
student to student. Each is compared with the threshold of its own class and student.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core.types import GroundTruth, ImagePredictions, Instance
from ..evaluation import evaluate

# A class of a student with a lower F1 than this disagrees with more labels than it agrees with: its disagreement says
# nothing. With fewer labels than this, F1 at the best threshold is chance.
LEAST_F1 = 0.5
FEWEST_LABELS = 5
_EDGE = 1e-6


@dataclass(frozen=True)
class StudentAgreement:
    """The agreement of one student with the labels of the images that it never saw.

    `ap50` is the mask AP at IoU 0.5 of the student against the labels; None if it is undefined. `classes` has per class
    name {"f1", "confidence", "labels"}: the best F1 at IoU 0.5, the score threshold that gives it, both None where
    undefined, and the number of labels.
    """

    images: int
    ap50: float | None
    classes: Mapping[str, Mapping[str, float | int | None]]

    @classmethod
    def measure(cls, labels: GroundTruth, predictions: Sequence[ImagePredictions]) -> StudentAgreement:
        """The agreement of predictions with labels; the predictions are those of a model that did not see these."""
        report = evaluate(labels, predictions)
        rows = {
            name: {"f1": row["best_f1"], "confidence": row["best_confidence"], "labels": row["instances"]}
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
        return tuple(name for name, row in self.classes.items() if (row["labels"] or 0) < FEWEST_LABELS)

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


def _is_known(row: Mapping[str, float | int | None]) -> bool:
    f1 = row["f1"]
    return f1 is not None and f1 >= LEAST_F1 and (row["labels"] or 0) >= FEWEST_LABELS


def _log_odds(score: float) -> float:
    inside = min(max(score, _EDGE), 1 - _EDGE)
    return math.log(inside / (1 - inside))
