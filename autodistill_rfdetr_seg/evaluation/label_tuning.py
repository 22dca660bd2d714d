"""Chooses the rules of a build by the F1 of the labels that they keep, and measures what each prompt is worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.config import RefineConfig
from ..core.types import Classes, GroundTruth, ImageLabels
from ..dataset.refine_rules.minimum_confidence import class_thresholds
from .detections import IntArray
from .label_matches import class_image_counts, match_labels
from .rule_search import LEVEL, Gain, RuleSearch, nested_gain, paired_gain, search_rules

_QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_OVERLAPS: Mapping[str, tuple[float | None, ...]] = {
    "nms_iou": (None, 0.4, 0.5, 0.6, 0.7, 0.8),
    "nms_iom": (None, 0.6, 0.7, 0.8, 0.9),
}
_OVERLAPS_ACROSS: Mapping[str, tuple[float | None, ...]] = {
    "agnostic_nms_iou": (None, 0.5, 0.65, 0.8, 0.9),
    "agnostic_nms_iom": (None, 0.7, 0.8, 0.9),
}
# Fractions of the image.
_AREAS: Mapping[str, tuple[float | None, ...]] = {
    "min_area": (0, 0.0001, 0.0003, 0.001, 0.003, 0.01),
    "max_area": (None, 0.05, 0.1, 0.25, 0.5),
    "island_area": (0, 0.0001, 0.001),
    "hole_area": (0, 0.0001, 0.001),
}


@dataclass(frozen=True)
class PromptWorth:
    """What a prompt adds to the F1 of the labels, where several prompts find its class: the F1 with it less that
    without it, at the tuned rules. It earns its place if the interval is above 0, and does harm if it is below."""

    prompt: str
    class_name: str
    labels: int
    gain: Gain


@dataclass(frozen=True)
class LabelTuning:
    """The rules that were found, how, and what they gain in images that they were not chosen on. Classes that are
    `left_out` have no gold object: their labels counted for nothing."""

    rules: RefineConfig
    search: RuleSearch[RefineConfig]
    gain: Gain
    images: int
    prompts: tuple[PromptWorth, ...]
    left_out: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether a change was taken."""
        return any(one.taken for step in self.search.steps for one in step)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        steps = [
            [
                {
                    "rule": one.rule,
                    "value": None if one.setting is None else value_of(one.setting, one.rule),
                    "f1": one.f1,
                    "gain": dataclasses.asdict(one.gain),
                    "taken": one.taken,
                }
                for one in step
            ]
            for step in self.search.steps
        ]
        return {
            "refine": self.rules.model_dump(mode="json"),
            "images": self.images,
            "f1_before": self.search.start_f1,
            "f1_after": self.search.f1,
            "gain": dataclasses.asdict(self.gain),
            "steps": steps,
            "left_out": list(self.left_out),
            "prompts": [dataclasses.asdict(one) for one in self.prompts],
        }


@dataclass
class LabelCounts:
    """Counts the labels of gold images under rules: right labels, labels and gold objects of each image (N, 3).

    Classes in `not_annotated` are left out, and so are those without a gold object: all their labels would count as
    wrong, and the best rules would be those that drop the class. What was counted is kept.
    """

    truth: GroundTruth
    labels: Mapping[str, ImageLabels]
    not_annotated: Collection[str] = ()
    on_count: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self._known: dict[str, IntArray] = {}
        held = {one.class_index for image in self.truth.images for one in image.instances if not one.crowd}
        names = self.truth.classes.names
        self._classes = np.array([at in held and name not in self.not_annotated for at, name in enumerate(names)])

    @property
    def left_out(self) -> tuple[str, ...]:
        """The classes that count for nothing."""
        names = self.truth.classes.names
        return tuple(name for name, counted in zip(names, self._classes.tolist(), strict=True) if not counted)

    def __call__(self, rules: RefineConfig) -> IntArray:
        """The counts for these rules."""
        key = rules.model_dump_json()
        if key not in self._known:
            parts = class_image_counts(match_labels(self.truth, self.labels, rules))
            self._known[key] = np.stack([part[self._classes].sum(axis=0) for part in parts], axis=1)
            self.on_count()
        return self._known[key]

    def without_prompt(self, prompt_index: int) -> LabelCounts:
        """The counts of the labels that the other prompts found."""
        left = {
            name: dataclasses.replace(one, instances=tuple(i for i in one.instances if i.prompt_index != prompt_index))
            for name, one in self.labels.items()
        }
        return LabelCounts(self.truth, left, self.not_annotated)


def tune_labels(
    truth: GroundTruth,
    labels: Mapping[str, ImageLabels],
    rules: RefineConfig,
    *,
    prompts: Sequence[tuple[str, int]] = (),
    not_annotated: Collection[str] = (),
    on_count: Callable[[], object] = lambda: None,
) -> LabelTuning:
    """The rules with the best F1 of labels at mask IoU 0.5, over all classes together, starting from `rules`.

    Confidence (one value, or one for a class), NMS, areas, mask cleaning and, if the labels have it, stability are
    tried in turn (`rule_search.search_rules`). `prompts` are the prompts and the class that each finds. `on_count` is
    called for each set of rules that is counted.
    """
    count = LabelCounts(truth, labels, not_annotated, on_count)
    candidates = Candidates.from_labels(truth, labels, count.left_out)
    images = np.arange(len(truth.images))
    found = search_rules(count, rules, candidates.values, images)
    taken = any(one.taken for step in found.steps for one in step)
    gain = nested_gain(count, rules, candidates.values, images) if taken else Gain(0.0, 0.0, 0.0)
    worths = _worths(count, found.setting, prompts)
    return LabelTuning(found.setting, found, gain, len(images), worths, count.left_out)


@dataclass(frozen=True)
class Candidates:
    """The values to try for each rule; those of scores are quantiles of the labels' scores, right or wrong alike."""

    classes: Classes
    confidence: tuple[float, ...]
    of_class: Mapping[int, tuple[float, ...]]
    stability: tuple[float, ...]

    @classmethod
    def from_labels(
        cls, truth: GroundTruth, labels: Mapping[str, ImageLabels], left_out: Collection[str] = ()
    ) -> Candidates:
        """The candidates for the labels of these images; a class that is left out has no threshold of its own."""
        every = [one for image in truth.images for one in labels[image.image_id].instances]
        names = truth.classes.names
        scores = {at: [i.score for i in every if i.class_index == at] for at in range(len(names))}
        classes = {at: () if names[at] in left_out else _quantiles(found) for at, found in scores.items()}
        stability = [i.stability for i in every if i.stability is not None]
        return cls(truth.classes, _quantiles([i.score for i in every]), classes, _quantiles(stability))

    def values(self, rules: RefineConfig) -> dict[str, list[RefineConfig]]:
        """By the name of each rule, the rules that differ from `rules` in it alone."""
        names = self.classes.names
        several = len(names) > 1
        found = {"confidence": [rules.model_copy(update={"confidence": one}) for one in (0.0, *self.confidence)]}
        if several:
            now = dict(zip(names, class_thresholds(rules, self.classes), strict=True))
            for at, name in enumerate(names):
                values = ({**now, name: one} for one in (0.0, *self.of_class[at]))
                if self.of_class[at]:
                    found[f"confidence of {name}"] = [rules.model_copy(update={"confidence": one}) for one in values]
        plain = {**_OVERLAPS, **(_OVERLAPS_ACROSS if several else {}), **_AREAS}
        if self.stability:
            plain = {**plain, "min_stability": (None, *self.stability)}
        for key, options in plain.items():
            found[key] = [rules.model_copy(update={key: one}) for one in options]
        return {key: [one for one in settings if one != rules] for key, settings in found.items()}


def value_of(rules: RefineConfig, rule: str) -> Any:
    """The value of a rule by its name in `Candidates.values`."""
    if rule.startswith("confidence of ") and isinstance(rules.confidence, dict):
        return rules.confidence[rule.removeprefix("confidence of ")]
    return rules.confidence if rule.startswith("confidence") else getattr(rules, rule)


def _worths(count: LabelCounts, rules: RefineConfig, prompts: Sequence[tuple[str, int]]) -> tuple[PromptWorth, ...]:
    of_class = [index for _, index in prompts]
    names = count.truth.classes.names
    several = [
        at for at, index in enumerate(of_class) if of_class.count(index) > 1 and names[index] not in count.not_annotated
    ]
    found = []
    for at in several:
        every = [i for one in count.labels.values() for i in one.instances if i.prompt_index == at]
        gain = paired_gain(count.without_prompt(at)(rules), count(rules), LEVEL / len(several))
        found.append(PromptWorth(prompts[at][0], names[of_class[at]], len(every), gain))
    return tuple(found)


def _quantiles(values: Sequence[float]) -> tuple[float, ...]:
    """The quantiles of the values, without equal ones."""
    return tuple(np.unique(np.quantile(values, _QUANTILES)).tolist()) if len(values) else ()
