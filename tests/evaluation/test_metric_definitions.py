"""A metric is one function in a file: it is in the report's numbers, in gates and on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import (
    Classes,
    GroundTruth,
    ImagePredictions,
    Instance,
    TruthImage,
    TruthInstance,
)
from autodistill_rfdetr_seg.evaluation import check_gates, evaluate, metric_definitions
from autodistill_rfdetr_seg.evaluation.metric import all_metrics
from autodistill_rfdetr_seg.report import write_page
from helpers.report_data import page_data

METRIC_FILE = '''
"""AP at IoU 0.95: how exact the masks are."""

from autodistill_rfdetr_seg.evaluation.coco_arrays import ALL, mean
from autodistill_rfdetr_seg.evaluation.metric import Metric

METRICS = [Metric("ap95", lambda arrays: mean(arrays.precision[9, ..., ALL]), 35, "AP95", "IoU 0.95", for_boxes=True)]
'''
COCO_NAMES = [
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar_1", "ar_10", "ar", "ar_small", "ar_medium", "ar_large"),
]


@pytest.fixture
def ap95(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "exact_masks.py").write_text(METRIC_FILE)
    monkeypatch.setattr(metric_definitions, "__path__", [*metric_definitions.__path__, str(folder)])


def scored() -> dict[str, object]:
    import numpy as np

    def rle(width: int) -> object:
        mask = np.zeros((40, 60), dtype=bool)
        mask[:20, :width] = True
        return masks.encode(mask)

    truth = TruthImage("a.png", Path("a.png"), 40, 60, (TruthInstance(0, rle(50)),), 1)
    found = ImagePredictions("a.png", (Instance(0, rle(47), 0.9),))  # IoU 0.94
    return evaluate(GroundTruth(Classes(("bolt",)), (truth,), "x"), [found]).to_dict()


def test_the_metrics_of_coco_come_in_its_order() -> None:
    assert [metric.name for metric in all_metrics()] == COCO_NAMES
    assert list(scored()["mask"]) == COCO_NAMES


@pytest.mark.usefixtures("ap95")
def test_a_metric_in_a_file_of_its_own_is_reported(tmp_path: Path) -> None:
    report = scored()
    assert report["mask"]["ap95"] == 0.0 and report["box"]["ap95"] == 0.0 and report["mask"]["ap75"] == pytest.approx(1)
    check_gates({"mask.ap95": 0.0}, report)
    with pytest.raises(Exception, match=r"mask.ap95 >= 0.5 was not met: it is 0.000"):
        check_gates({"mask.ap95": 0.5}, report)
    data = page_data(["bolt"])
    data.metrics["target"]["mask"]["ap95"] = 0.123
    write_page(tmp_path / "report.html", data)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "AP95" in page and "0.123" in page and "IoU 0.95" in page
