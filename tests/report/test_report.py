from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg.core.types import Instance
from autodistill_rfdetr_seg.report import PageData, Pair, Sample, write_page
from autodistill_rfdetr_seg.report.charts import BOTTOM, LEFT, TOP, histogram, pr_chart
from autodistill_rfdetr_seg.report.report_text import (
    difference,
    headline,
    known,
    milliseconds,
    model_names,
    percent,
    remarks,
    score,
    speed_factor,
)
from helpers.html_page import page
from helpers.report_data import EVIL_CLASS, EVIL_IMAGE, page_data, square


def with_metrics(data: PageData, **changes: Any) -> PageData:
    return dataclasses.replace(data, metrics={**data.metrics, **changes})


def test_the_tables_show_the_metrics(tmp_path: Path) -> None:
    shown = page(tmp_path, page_data(["date", "fig"]))
    assert shown.row("AP ")[1:] == ["0.412", "0.383", "−0.029"]
    assert shown.row("AP50")[1:] == ["0.422", "0.393", "−0.029"]
    assert shown.row("AP small")[1:] == ["–", "–", "–"]
    boxes = [row for row in shown.rows if row[0].startswith("AP75")][1]
    assert boxes[1:] == ["0.632", "0.603", "−0.029"]
    assert shown.row("Confidence for best F1")[1:] == ["0.31", "0.42", ""]
    assert shown.row("Time per image")[1:] == ["480 ms", "12.0 ms", ""]
    assert shown.row("AR, 100 detections")[1] == "0.482"
    assert shown.row("fig") == [
        "fig",
        "9",
        "0.411",
        "0.382",
        "0.900",
        "0.800",
        "0.700",
        "0.600",
        "0.500",
        "0.750",
        "0.30",
    ]
    assert shown.row("train") == ["train", "1,600", "11,904", "41"]
    assert shown.row("bad/broken.jpg") == ["bad/broken.jpg", "image file is truncated"]


def test_the_text_says_what_the_run_came_to(tmp_path: Path) -> None:
    shown = page(tmp_path, page_data(["date", "fig"]))
    text = shown.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "The RF-DETR Seg Nano student reaches 93% of its teacher's quality." in text
    assert "Its mask AP is 0.383, against 0.412 for the teacher, grounded-sam, on 7 images of the gold set." in text
    assert "12.0 ms per image, the teacher 480 ms: 40 times as fast." in text
    assert "A confidence threshold of 0.42 gives the best F1 (0.555)." in text
    assert "200 (20%)" in text and "750 (75%)" in text
    assert "same object labeled twice (mask NMS)" in text
    assert "375 kept, 125 rejected" in text
    assert "0123456789abcdef" in text and "1.11.2" in text and "base: {name: grounded-sam}" in text
    assert "agreement with the base" not in text


def test_without_gold_the_page_says_that_agreement_is_not_truth(tmp_path: Path) -> None:
    shown = page(tmp_path, page_data(["date", "fig"], gold=False))
    assert "This is agreement with the base, not truth." in shown.text
    assert "Recovery" not in [row[0] for row in shown.rows] and "of the gold set" not in shown.text
    assert shown.row("AP ")[1:] == ["0.383"]
    captions = [one["alt"] for one in shown.attributes("img")]
    assert captions[:2] == ["Base: 1 × date, 1 × fig", "Target: 1 × date"]


def test_labels_of_the_base_are_never_called_gold(tmp_path: Path) -> None:
    truth = page_data(["date"]).samples
    shown = page(tmp_path, dataclasses.replace(page_data(["date"], gold=False), samples=truth))
    assert [str(one["alt"]).partition(":")[0] for one in shown.attributes("img")[:3]] == [
        "Base's labels",
        "Base",
        "Target",
    ]
    assert "Gold" not in shown.text


def test_undefined_numbers_are_a_dash_everywhere(tmp_path: Path) -> None:
    data = page_data(["date"])
    empty = {"mask": {}, "box": {}, "per_class": {"date": {"ap": None, "instances": 0}}}
    data = with_metrics(data, base=empty | {"milliseconds": None}, target=empty | {"best_f1": math.nan}, recovery=None)
    shown = page(tmp_path, dataclasses.replace(data, details={"base": None, "target": {}}, config_text=""))
    assert "None" not in shown.text and "nan" not in shown.text and "-1" not in shown.text
    assert shown.row("AP ")[1:] == ["–", "–", "–"]
    assert shown.row("date")[1:] == ["0", *["–"] * 9]
    assert "Nothing was scored in this run." in shown.text


def test_a_run_without_scores_samples_or_dataset_still_has_a_page(tmp_path: Path) -> None:
    data = with_metrics(page_data(["date"], samples=0), base=None, target=None)
    shown = page(tmp_path, dataclasses.replace(data, details={}, dataset={}, failures=(), versions={}, config_text=""))
    assert "No dataset was built in this run." in shown.text
    assert "Samples" not in shown.text and shown.attributes("img") == []


def test_names_from_outside_are_text_and_nothing_else(tmp_path: Path) -> None:
    data = page_data([EVIL_CLASS, "fig"], image_name=EVIL_IMAGE)
    data = dataclasses.replace(
        data, title=EVIL_IMAGE, config_text=EVIL_CLASS, failures=[{"path": EVIL_IMAGE, "reason": EVIL_CLASS}]
    )
    shown = page(tmp_path, data)
    assert shown.row("<script>")[0] == EVIL_CLASS
    assert EVIL_IMAGE in shown.text
    assert shown.attributes("script") == []
    assert all(
        "onerror" not in one and str(one["src"]).startswith("data:image/webp;base64,")
        for one in shown.attributes("img")
    )
    assert not any(name.startswith("on") for _, attributes in shown.tags for name in attributes)


def test_the_page_needs_nothing_beside_it(tmp_path: Path) -> None:
    shown = page(tmp_path, page_data(["date", "fig"]))
    policy = next(one["content"] for one in shown.attributes("meta") if "http-equiv" in one)
    assert str(policy).startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    outside = [
        a[k] for _, a in shown.tags for k in ("src", "href") if k in a and not str(a[k]).startswith(("data:", "#"))
    ]
    assert outside == []
    assert not re.search(r"url\(|@import|https?://", shown.html)


@pytest.mark.parametrize("count", [1, 80])
def test_one_class_and_eighty(tmp_path: Path, count: int) -> None:
    names = [f"class {at:02}" for at in range(count)]
    shown = page(tmp_path, page_data(names))
    assert [row[0] for row in shown.rows if row[0].startswith("class ")] == names
    assert ("56 more classes" in shown.text) == (count == 80)
    # The weakest have the highest numbers; naming them pays only where there are more than three.
    assert ("The weakest classes are class 79 (0.304)" in shown.text) == (count == 80)


def test_every_gold_set_has_its_rows(tmp_path: Path) -> None:
    data = page_data(["date"])
    one = data.metrics
    sets = {"day": {"base": one["base"], "target": one["target"], "recovery": 0.5}, "night": {"target": one["target"]}}
    shown = page(tmp_path, with_metrics(data, sets=sets, images_left_out=4))
    assert "4 images of the train or valid split left out" in shown.text
    at = shown.rows.index(["day"])
    assert shown.rows[at + 1] == ["Base", "7", "0.412", "0.422", "0.432", "0.612", "0.555", ""]
    assert shown.rows[at + 2] == ["Target", "7", "0.383", "0.393", "0.403", "0.583", "0.555", "50%"]
    assert shown.rows[at + 3 : at + 5] == [["night"], ["Target", "7", "0.383", "0.393", "0.403", "0.583", "0.555", "–"]]


def look_alike(image: str, like: str, bits: int) -> dict[str, Any]:
    return {"image": image, "like": like, "bits": bits}


def test_look_alikes_are_named_and_scored_apart(tmp_path: Path) -> None:
    data = page_data(["date"])
    one = data.metrics
    held_out = {"images": 7, "total": 9, "look_alikes": [look_alike("a.jpg", "train/b.jpg", 5)], "problem": None}
    whole = {
        "images": 9,
        "base": one["base"] | {"images": 9},
        "target": one["target"] | {"images": 9},
        "recovery": 0.25,
    }
    shown = page(tmp_path, with_metrics(data, held_out=held_out, all=whole, notes=["Two images <b>leave</b> the set."]))
    assert "on 7 images of the gold set, all held out." in shown.text
    assert "Two images <b>leave</b> the set." in shown.text
    assert "These scores are not held out." not in shown.text
    assert ["a.jpg", "train/b.jpg", "5"] in shown.rows
    at = shown.rows.index(["All images, including look-alikes of training images"])
    assert shown.rows[at + 2] == ["Target", "9", "0.383", "0.393", "0.403", "0.583", "0.555", "25%"]


def test_scores_that_are_not_held_out_are_called_so(tmp_path: Path) -> None:
    data = page_data(["date"])
    held_out = {"images": 0, "total": 7, "look_alikes": [look_alike("a.jpg", "valid/b.jpg", 0)], "problem": None}
    whole = {key: data.metrics[key] for key in ("images", "base", "target", "recovery")}
    shown = page(tmp_path, with_metrics(data, held_out=held_out, all=whole))
    assert "These scores are not held out." in shown.text
    assert "on 7 images of the gold set, which are not held out." in shown.text
    assert not any("including look-alikes of training images" in cell for row in shown.rows for cell in row)


class OneByOne(Sequence[Sample]):
    """Samples that are made when asked for, and remember which were."""

    def __init__(self, make: list[Sample]) -> None:
        self.make, self.asked = make, []

    def __len__(self) -> int:
        return len(self.make)

    def __getitem__(self, index: Any) -> Any:
        sample = self.make[index]
        self.asked.append(index)
        return sample


def test_samples_are_read_once_and_in_order_and_bad_files_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    turned = Image.new("RGB", (40, 20), (10, 200, 10))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    samples = OneByOne(
        [Sample("first", broken, None, (), (), ""), Sample("second", tmp_path / "turned.jpg", None, None, (), "")]
    )
    shown = page(tmp_path, dataclasses.replace(page_data(["date"]), samples=samples))
    assert samples.asked == [0, 1]
    assert f"{broken} is not an image in a known format." in shown.text
    assert [(one["width"], one["height"]) for one in shown.attributes("img")] == [("20", "40")]
    assert shown.text.index("first") < shown.text.index("second")


def test_a_failed_page_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    image = np.zeros((60, 60, 3), np.uint8)
    bad = [Sample("bad", image, None, None, (Instance(0, square(50, 1, 1, 5), 0.5),), "")]
    with pytest.raises(ValueError, match="50 x 50"):
        write_page(path, dataclasses.replace(page_data(["date"]), samples=bad))
    assert path.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_the_same_run_gives_the_same_bytes_and_broken_names_are_written(tmp_path: Path) -> None:
    data = page_data(["date", "naïve 椅子"], image_name="bad\udcff.jpg")
    for name in ("a.html", "b.html"):
        write_page(tmp_path / name, data)
    content = (tmp_path / "a.html").read_bytes()
    assert content == (tmp_path / "b.html").read_bytes()
    # A picture cannot show these letters; the legend ties the number it shows to the name.
    assert "bad?.jpg" in content.decode("utf-8") and "#1 naïve 椅子" in content.decode("utf-8")


def test_noisy_samples_stay_under_a_quarter_megabyte_each(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    data = page_data(["date"])
    samples = [Sample("noise", noise, (), (), (), "")] * 2
    write_page(tmp_path / "report.html", dataclasses.replace(data, samples=samples))
    assert (tmp_path / "report.html").stat().st_size < 500_000


def test_numbers_in_words() -> None:
    assert [known(value) for value in (0, 0.5, -1, None, math.nan, math.inf, "1", True)] == [True, True, *[False] * 6]
    assert [score(value) for value in (0, 0.41249, 1, -1, None)] == ["0.000", "0.412", "1.000", "–", "–"]
    assert [percent(value) for value in (0.934, 0.9996, 1.0, 0.003, 0.00002, 0, None)] == [
        "93%", "100.0%", "100%", "0.3%", "<0.1%", "0%", "–"
    ]  # fmt: skip
    assert [difference(0.5, 0.4), difference(0.4, 0.5), difference(0.4, 0.4001), difference(None, 1)] == [
        "+0.100", "−0.100", "0.000", "–"
    ]  # fmt: skip
    assert [milliseconds(value) for value in (1234.5, 11.84, None)] == ["1,234\xa0ms", "11.8\xa0ms", "–"]
    assert speed_factor(10, 425) == "42 times as fast"
    assert speed_factor(30, 12) == "2.5 times as slow"
    assert speed_factor(10, 10.5) == speed_factor(0, 5) == speed_factor(None, 5) == ""


def test_headlines() -> None:
    both = page_data(["date"]).metrics
    assert (
        headline({**both, "recovery": 1.08}, "M") == "The M student does better than its teacher: 108% of its quality."
    )
    assert headline({**both, "recovery": 0.9999}, "M") == "The M student reaches 100.0% of its teacher's quality."
    assert headline({**both, "base": None}, "M") == "The M student reaches a mask AP of 0.383."
    assert headline({**both, "target": None}, "M") == "The teacher reaches a mask AP of 0.412."
    alone = page_data(["date"], gold=False).metrics
    assert headline(alone, "M") == "The M student agrees with its teacher at a mask AP of 0.383."
    assert remarks(alone, "clip")[0] == "Measured on 7 images with the labels of the teacher, clip."


def test_model_names_come_from_the_configuration() -> None:
    assert model_names("target: {size: 2xlarge}\nbase: {name: 'my.module:MyBase'}") == ("RF-DETR Seg 2XLarge", "MyBase")
    assert model_names("{") == model_names("") == model_names("target: 3") == ("RF-DETR Seg", "")


def test_a_precision_recall_curve_ends_where_recall_does() -> None:
    precisions: list[float | None] = [1.0, None, 0.5, 0.5, 0.0]
    details = {"target": {"recall": [0, 0.25, 0.5, 0.75, 1], "pr": {"all": {"iou50": precisions}}}}
    chart = pr_chart("iou50", "0.5", details)
    assert chart is not None
    middle = (TOP + BOTTOM) / 2
    assert [curve.path for curve in chart.curves] == [f"M{LEFT:g} {TOP:g}M198 {middle:g}L274 {middle:g}"]
    assert "0.500 for the target" in chart.description
    assert pr_chart("iou75", "0.75", details) is None


def test_a_histogram_keeps_its_scale_when_low_confidences_flood_it() -> None:
    edges = [at / 20 for at in range(21)]
    matched, unmatched = [0] * 19 + [100], [5000] + [0] * 19
    details = {"target": {"score_histogram": {"edges": edges, "matched": matched, "unmatched": unmatched}}}
    chart = histogram("target", details, 0.5)
    assert chart is not None and chart.marker is not None
    good, flood = chart.bars
    assert (good.kind, flood.kind) == ("matched", "unmatched")
    assert good.height == pytest.approx((BOTTOM - TOP) / 1.11, abs=1) and good.cut == ""
    assert flood.height == BOTTOM - TOP and "5,000 at 0.00 to 0.05" in chart.note
    assert [tick.text for tick in chart.y_ticks] == ["0", "50", "100"]
    assert (chart.marker.at, chart.marker.text) == (198.0, "0.50")
    assert histogram("base", details, None) is None


def test_pairs_kept_together_stand_side_by_side_with_their_split(tmp_path: Path) -> None:
    for name, side in (("a.png", 60), ("b.png", 30)):
        Image.new("RGB", (2 * side, side), (10, 200, 10)).save(tmp_path / name)
    (tmp_path / "gone.png").write_bytes(b"no image")
    pairs = [
        Pair((EVIL_IMAGE, "b.png"), "valid", (tmp_path / "a.png", tmp_path / "b.png")),
        Pair(("a.png", "gone.png"), "train", (tmp_path / "a.png", tmp_path / "gone.png")),
    ]
    data = dataclasses.replace(page_data(["date"], samples=0), leakage="Leakage: <none>.", pairs=pairs)
    data = dataclasses.replace(data, dataset={**data.dataset, "too_rare": {EVIL_CLASS: ["valid", "test"]}})
    shown = page(tmp_path, data)
    assert [(one["alt"], one["width"]) for one in shown.attributes("img")] == [
        (EVIL_IMAGE, "120"),
        ("b.png", "60"),
        ("a.png", "120"),
    ]
    assert "Leakage: <none>." in shown.text and f"valid {EVIL_IMAGE} · b.png" in shown.text
    assert f"{EVIL_CLASS} has no label in valid, test" in shown.text
    assert "gone.png is not an image in a known format." in shown.text
    assert "Kept in one split" not in page(tmp_path, page_data(["date"])).text
