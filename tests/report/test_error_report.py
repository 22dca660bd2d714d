"""The errors on the page: cells that lead to pictures, pictures with a command, the summary at the top."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from autodistill_rfdetr_seg.core.types import (
    Classes,
    GroundTruth,
    ImagePredictions,
    Instance,
    TruthImage,
    TruthInstance,
)
from autodistill_rfdetr_seg.evaluation import evaluate
from autodistill_rfdetr_seg.report import PageData, write_page
from autodistill_rfdetr_seg.report.error_pictures import MOST, MOST_OF_ONE, ErrorPicture, chosen_errors
from autodistill_rfdetr_seg.report.error_tables import confusion, picture_id
from autodistill_rfdetr_seg.report.summary import biggest_losses, certainty, next_steps
from helpers.html_page import page
from helpers.report_data import EVIL_CLASS, EVIL_IMAGE, page_data, square

SIDE = 120
NAMES = [EVIL_CLASS, "fig"]


def scored(folder: Path) -> PageData:
    """A page about real scores: one object is found as the other class, one is missed, one detection is nothing."""
    pixels = np.full((SIDE, SIDE, 3), 90, np.uint8)
    cv2.imwrite(str(folder / "a.png"), pixels)
    images, found = [], []
    for at in range(12):
        truth = (
            TruthInstance(0, square(SIDE, 5, 5, 30)),
            TruthInstance(1, square(SIDE, 80, 5, 30)),
            TruthInstance(0, square(SIDE, 5, 80, 30)),
        )
        name = EVIL_IMAGE if at == 0 else f"{at}.png"
        images.append(TruthImage(name, folder / "a.png", SIDE, SIDE, truth, at + 1))
        instances = [Instance(0, square(SIDE, 5, 5, 30), 0.9)]
        if at < 4:
            instances += [Instance(0, square(SIDE, 80, 5, 30), 0.8), Instance(1, square(SIDE, 80, 80, 20), 0.85)]
        else:
            instances += [Instance(1, square(SIDE, 80, 5, 30), 0.8)]
        found.append(ImagePredictions(name, tuple(instances)))
    classes = Classes(tuple(NAMES))
    report = evaluate(GroundTruth(classes, tuple(images), "p"), found, intervals=True, errors=True, replicates=60)
    data = page_data(NAMES)
    metrics = {**data.metrics, "target": report.to_dict(), "comparison": "9 instances cannot tell."}
    metrics["intervals"] = {"recovery": {"low": 0.5, "high": 1.1}, "difference": {"low": -0.1, "high": 0.2}}
    metrics["training_distance"] = [{"low": 3, "high": 9, "images": 6, "instances": 18, "base": None, "target": 0.25}]
    by_name = {image.image_id: image for image in images}
    pictures = [
        ErrorPicture(one, image.path, image.instances, (), "autodistill-seg explain r train:7", EVIL_CLASS)
        for one in chosen_errors(report.details["errors"])
        for image in [by_name[one["image_id"]]]
    ]
    return dataclasses.replace(
        data, metrics=metrics, details={"base": None, "target": report.details}, classes=classes, errors=pictures
    )


def test_cells_lead_to_pictures_and_pictures_to_explain(tmp_path: Path) -> None:
    shown = page(tmp_path, scored(tmp_path))
    ids = {attributes.get("id") for _, attributes in shown.tags}
    links = {str(one["href"]) for one in shown.attributes("a") if str(one.get("href")).startswith("#error-")}
    assert links == {f"#{picture_id(*one)}" for one in (("missed", 0), ("class", 0), ("background", 1))}
    assert {link[1:] for link in links} <= ids
    # Class, localization, both, duplicate, background, missed.
    assert shown.row(EVIL_CLASS[:8]) is not None
    rows = [row for row in shown.rows if row[0] == EVIL_CLASS and len(row) == 7]
    assert rows == [[EVIL_CLASS, "4", "", "", "", "", "12"]]
    assert "autodistill-seg explain r train:7" in shown.text
    assert [row for row in shown.rows if row[0] == "3 to 9"] == [["3 to 9", "6", "18", "–", "0.250"]]
    assert shown.attributes("script") == [] and all("onerror" not in one for one in shown.attributes("img"))
    matrix = [row for row in shown.rows if row[0] in (*NAMES, "background") and len(row) == 4]
    assert matrix == [[EVIL_CLASS, "12", "", "12"], ["fig", "4", "8", ""], ["background", "", "4", ""]]


def test_the_summary_names_the_losses_in_order(tmp_path: Path) -> None:
    metrics = scored(tmp_path).metrics
    losses = biggest_losses(metrics)
    assert losses[0].kind == "missed" and losses[0].count == 12
    assert [loss.ap50 for loss in losses] == sorted((loss.ap50 for loss in losses), reverse=True)
    assert certainty(metrics) == "9 instances cannot tell."
    alone = {**metrics, "comparison": None, "images": 12, "instances": 36}
    assert certainty(alone).startswith("The target's mask AP is ")
    assert "from 36 instances in 12 images" in certainty(alone)
    assert next_steps(metrics)[0] == "Annotate more gold images before you choose between base and target."
    better = {**metrics, "intervals": {"recovery": None, "difference": {"low": 0.1, "high": 0.2}}}
    assert next_steps(better)[0].startswith("Use the target")
    assert certainty({}) == "" and biggest_losses({}) == () and next_steps({}) == ()
    assert "not truth" in next_steps({"reference": "base labels"})[0]


def test_few_pictures_of_each_kind_and_class() -> None:
    errors: list[dict[str, Any]] = [
        {"kind": kind, "class_index": label, "number": at}
        for kind in ("missed", "class")
        for label in range(30)
        for at in range(9)
    ]
    chosen = chosen_errors(errors)
    assert len(chosen) == MOST and all(one["number"] < MOST_OF_ONE for one in chosen)
    assert {(one["kind"], one["class_index"]) for one in chosen} >= {("missed", at) for at in range(20)}


def test_a_large_confusion_matrix_shows_the_classes_that_are_confused() -> None:
    names = [f"c{at}" for at in range(80)]
    matrix = np.diag(np.full(81, 5))
    matrix[70, 71] = 9
    metrics = {"target": {"errors": {"confusion": {"names": [*names, "background"], "matrix": matrix.tolist()}}}}
    shown = confusion(metrics, ())
    assert shown is not None and len(shown[0]) == 13 and {"c70", "c71", "background"} <= set(shown[0])
    assert confusion({"target": {}}, ()) is None


def test_an_image_that_is_gone_is_named(tmp_path: Path) -> None:
    data = scored(tmp_path)
    (tmp_path / "a.png").unlink()
    write_page(tmp_path / "report.html", data)
    assert "a.png" in (tmp_path / "report.html").read_text("utf-8")
