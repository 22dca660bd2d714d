"""A refine rule is one file: it runs, its rejections are counted, `explain` and the report have its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import RefineConfig
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, ImageRecord, Instance
from autodistill_rfdetr_seg.dataset import refine_rules
from autodistill_rfdetr_seg.dataset.refine import all_rules, context_of, prepared_rules, reason_text, refine
from autodistill_rfdetr_seg.dataset.refine_rule import RuleStep

RULE_FILE = '''
"""Rejects masks that are narrower than 4 pixels."""

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.dataset.refine_rule import RefineRule, partition


def _width(instance):
    return masks.bbox_xywh(instance.rle)[2]


def _prepare(context):
    return lambda found: partition(found, [_width(i) >= 4 for i in found], "too_narrow")


def _explain(step):
    return "passed", f"{_width(step.before):g} pixels wide, at least 4"


RULES = [RefineRule("width", 45, _prepare, _explain, {"too_narrow": "mask narrower than 4 pixels"})]
'''


@pytest.fixture
def width_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rejects_narrow_masks.py").write_text(RULE_FILE)
    monkeypatch.setattr(refine_rules, "__path__", [*refine_rules.__path__, str(tmp_path)])


def box(left: int, right: int, score: float) -> Instance:
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:30, left:right] = True
    return Instance(0, masks.encode(mask), score)


def labels() -> ImageLabels:
    return ImageLabels(ImageRecord("a", "a.png", 40, 60, "0" * 64), (box(0, 3, 0.9), box(20, 30, 0.8)))


def test_the_rules_that_come_with_the_package_run_in_this_order() -> None:
    names = [rule.name for rule in all_rules()]
    assert names == ["confidence", "stability", "clean", "area", "nms", "agnostic_nms", "max_instances"]


@pytest.mark.usefixtures("width_rule")
def test_a_rule_in_a_file_of_its_own_runs_and_explains_itself() -> None:
    classes = Classes(("bolt",))
    kept = refine(labels(), RefineConfig(), classes)
    assert [i.score for i in kept.instances] == [0.8]
    assert [(r.instance.score, r.reason) for r in kept.rejected] == [(0.9, "too_narrow")]
    assert reason_text("too_narrow") == "mask narrower than 4 pixels"
    assert [rule.name for rule in all_rules()].index("width") == 4
    context = context_of(labels(), RefineConfig(), classes)
    found = {rule.name: rule for rule, _ in prepared_rules(context)}
    last = kept.instances[0]
    step = RuleStep(context, labels().instances, kept.instances, last, last)
    assert found["width"].explain(step) == ("passed", "10 pixels wide, at least 4")


def test_without_its_file_the_rule_is_gone() -> None:
    assert "width" not in [rule.name for rule in all_rules()]
    assert [i.score for i in refine(labels(), RefineConfig(), Classes(("bolt",))).instances] == [0.9, 0.8]
