"""From the answers to the checks of a run: how many of its labels are right, and how many objects were missed."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.config import MOST_MISSED
from ..core.errors import UsageError
from ..core.plain_text import counted
from ..system.files import write_json
from ..system.run_folder import RunFolder
from .certification_answers import Answers, read_answers
from .certification_bounds import CheckResults, missed_estimate, missed_upper, wrong_estimate, wrong_upper
from .certification_checks import Checks, read_checks
from .certification_sample import region_weights

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Certificate:
    """The bounds of a run's labels, each 0..1 and None if undefined; `notes` say what is assumed or undefined.

    Attributes:
        labels: the labels that the bounds are about.
        confidence: of each bound by itself.
        right_at_least: the lower bound of the part of the labels that are right.
        right_estimate: the estimate of it.
        missed_at_most: the upper bound of the part of all objects that have no right label.
        missed_estimate: the estimate of it.
        labels_checked: the labels that were checked one by one, and `labels_wrong` of these are wrong.
        regions_checked: the regions that were checked, out of `regions`; `region_labels` are the labels in them,
            `region_wrong` the wrong ones of these, and `region_missed` the missed objects.
    """

    labels: int
    confidence: float
    right_at_least: float | None
    right_estimate: float | None
    missed_at_most: float | None
    missed_estimate: float | None
    labels_checked: int
    labels_wrong: int
    regions: int
    regions_checked: int
    region_labels: int
    region_wrong: int
    region_missed: int
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        return dataclasses.asdict(self)


def certify(run: RunFolder, answers: Path, most_missed: float = MOST_MISSED) -> Certificate:
    """The bounds that follow from `answers` to the checks of `draw_checks`.

    The answers are stored in `RUN/human`, the certificate in `RUN/certification/certificate.json`. `most_missed`: no
    region is assumed to have more missed objects than this for each of its labels and as many more.

    Raises:
        UsageError: `most_missed` is not a number above 0.
        MissingInputError, DataError: as `read_checks` and `read_answers`.
    """
    if not 0 < most_missed < math.inf:
        raise UsageError(f"At most {most_missed:g} missed objects is not a number above 0.", "2 is the default.")
    checks = read_checks(run)
    read = read_answers(run, checks, answers)
    write_json(run.human / f"certification-{checks.name}.json", read.as_json(checks.name))
    found = certificate(checks, read, most_missed)
    write_json(checks.folder / "certificate.json", found.as_json())
    return found


def certificate(checks: Checks, answers: Answers, most_missed: float = MOST_MISSED) -> Certificate:
    """The bounds that follow from the answers to all checks."""
    found = check_results(checks, answers, most_missed)
    alpha = 1 - CONFIDENCE
    wrong = wrong_estimate(found)
    labels = found.labels
    counts = [answers.regions[one.reference] for one in checks.region_items]
    return Certificate(
        labels=labels,
        confidence=CONFIDENCE,
        right_at_least=1 - wrong_upper(found, alpha) / labels if labels else None,
        right_estimate=1 - wrong / labels if wrong is not None else None,
        missed_at_most=missed_upper(found, alpha),
        missed_estimate=missed_estimate(found),
        labels_checked=sum(found.checked),
        labels_wrong=sum(found.wrong),
        regions=len(checks.items.regions),
        regions_checked=len(counts),
        region_labels=sum(one.labels for one in checks.region_items),
        region_wrong=sum(wrong for wrong, _ in counts),
        region_missed=sum(missed for _, missed in counts),
        notes=tuple(_notes(checks, found)),
    )


def check_results(checks: Checks, answers: Answers, most_missed: float = MOST_MISSED) -> CheckResults:
    """The answers as the numbers that the bounds are computed from."""
    sample, items = checks.sample, checks.items
    wrong = [sum(not answers.right[items.labels[at].reference] for at in chosen.tolist()) for chosen in sample.labels]
    weights = region_weights([one.labels for one in items.regions])
    counts = np.array([answers.regions[one.reference] for one in checks.region_items], dtype=np.float64)
    return CheckResults(
        sizes=[len(one) for one in sample.strata],
        checked=[len(one) for one in sample.labels],
        wrong=wrong,
        weights=weights[sample.regions],
        all_weights=float(weights.sum()),
        region_wrong=counts[:, 0],
        region_missed=counts[:, 1],
        most_missed=most_missed,
    )


def certificate_text(found: Certificate) -> str:
    """The bounds as sentences. Percentages are rounded in the direction that keeps them true."""
    sure = f"{found.confidence:.0%} confidence"
    lines = []
    if found.right_at_least is not None:
        bound, estimate = math.floor(1000 * found.right_at_least + 1e-9) / 10, _percent(found.right_estimate)
        lines.append(f"Of these {counted(found.labels, 'label')} at least {bound:g}% are right ({sure}{estimate}).")
    if found.missed_at_most is not None:
        bound, estimate = math.ceil(1000 * found.missed_at_most - 1e-9) / 10, _percent(found.missed_estimate)
        lines.append(f"At most {bound:g}% of the objects were missed ({sure}{estimate}).")
    lines.append(
        f"Checked: {counted(found.labels_checked, 'label')} ({found.labels_wrong} wrong); "
        f"{found.regions_checked} of {counted(found.regions, 'region')} with {counted(found.region_labels, 'label')} "
        f"({found.region_wrong} wrong, {counted(found.region_missed, 'missed object')})."
    )
    return "\n".join([*lines, *found.notes])


def _percent(estimate: float | None) -> str:
    return "" if estimate is None else f"; estimate {estimate:.1%}"


def _notes(checks: Checks, found: CheckResults) -> list[str]:
    limit = f"{found.most_missed:g} missed objects for each of its labels, and {found.most_missed:g} more"
    notes = [
        "Each bound holds by itself with this confidence over the random draw of the checks, however errors are "
        "arranged. Assumed: the answers are right, and the checks were not drawn again after answers were seen."
    ]
    if not found.labels:
        notes.append("The dataset has no label: neither bound is defined.")
    elif found.beyond_limit:
        notes.append(
            f"{counted(found.beyond_limit, 'region')} had more than {limit}: without that assumption missed objects "
            "have no bound. A larger --most-missed gives one, if you can vouch for it."
        )
    else:
        notes.append(f"Assumed for missed objects: no region has more than {limit}. No check can prove this.")
    if checks.items.by_people:
        notes.append(f"{counted(checks.items.by_people, 'image')} that a person corrected are not part of this.")
    return notes
