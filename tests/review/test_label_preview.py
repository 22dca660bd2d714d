from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import PipelineConfig, parse
from autodistill_rfdetr_seg.core.errors import DataError, UsageError
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, ImageRecord, Instance, Rejected
from autodistill_rfdetr_seg.drawing.contact_sheet import draw_dropped
from autodistill_rfdetr_seg.images.image_discovery import discover, relative_paths
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.labels.labeler import label_images
from autodistill_rfdetr_seg.pipeline.labeling_costs import Memory
from autodistill_rfdetr_seg.pipeline.labeling_plan import Forecast, forecast_text, plan
from autodistill_rfdetr_seg.review.label_preview import Item, preview, seeded_sample
from helpers.shapes import detections, disc


class Discs(DetectionBaseModel):
    """As many discs as the image's red tens, the last with a low score; fails on a green image."""

    def __init__(self) -> None:
        self.ontology = CaptionOntology({"a <disc>": "<disc>", "ring": "ring"})
        self._asked = 0

    def predict(self, input: np.ndarray) -> sv.Detections:
        self._asked += 1
        if input[0, 0, 1] > 200:
            raise ValueError("too <green>")
        count = int(input[0, 0, 2]) // 10
        if not count:
            return sv.Detections.empty()
        height, width = input.shape[:2]
        found = np.stack([disc(height, width, 12 + 20 * i, 20, 8) for i in range(count)])
        return detections(found, [0] * count, [0.9] * (count - 1) + [0.2])


def image(path: Path, count: int, green: int = 0, mode: str = "RGB", size: int = 48, blue: int = 30) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size, 2 * size, 3), np.uint8)
    pixels[:] = (10 * count, green, blue)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for at in range(12):
        image(tmp_path / "images" / f"{at:02}.png", at % 4, blue=at)
    return tmp_path / "images"


def arguments(images: Path, **options: Any) -> tuple[PipelineConfig, list[Item], BaseSource]:
    source = BaseSource.from_model(Discs())
    config = parse({"images": str(images), "ontology": source.classes.ontology, **options})
    return config, relative_paths(discover(images), images), source


def test_the_choice_is_seeded_and_grows() -> None:
    items = [(Path(f"{at}.png"), f"{at}.png") for at in range(50)]
    ten = seeded_sample(items, 10, 3)
    assert ten == seeded_sample(list(reversed(items)), 10, 3)
    assert ten == sorted(ten, key=lambda item: item[1])
    assert set(ten) < set(seeded_sample(items, 20, 3))
    assert set(ten) != set(seeded_sample(items, 10, 4))
    assert len(seeded_sample(items, 99)) == 50
    with pytest.raises(UsageError):
        seeded_sample(items, 0)


def test_preview_counts_and_files(images: Path, tmp_path: Path) -> None:
    image(images / "green<b>.png", 1, green=255)
    config, items, source = arguments(images, refine={"confidence": 0.5})
    found = preview(config, items, source, tmp_path / "preview", 99, progress=False)
    # 12 images with 0, 1, 2, 3 discs in turn, the last of each under the threshold
    assert (found.images, found.negatives, dict(found.per_class)) == (12, 6, {"<disc>": 9, "ring": 0})
    assert dict(found.rejected) == {"confidence": 9}
    assert [failure["path"] for failure in found.failures] == ["green<b>.png"]
    assert json.loads(json.dumps(found.as_json()))["picture"].endswith("preview.png")
    with Image.open(found.picture) as picture:
        assert picture.width == 1200
    assert sorted(p.name for p in (tmp_path / "preview").iterdir()) == ["labels", "preview.html", "preview.png"]


def test_preview_page_is_safe_and_alone(images: Path, tmp_path: Path) -> None:
    image(images / "green<b>.png", 1, green=255)
    config, items, source = arguments(images, refine={"confidence": 0.5})
    page = preview(config, items, source, tmp_path / "preview", 99, progress=False).page.read_text(encoding="utf-8")
    assert "default-src 'none'; img-src data:" in page
    assert "<disc>" not in page
    assert "<b>.png" not in page
    assert "too &lt;green&gt;" in page
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="(\w+:)', page)) == {"data:"}
    assert page.count("<img ") == 24
    assert page.count("<td>confidence</td>") == 9


def test_preview_asks_only_for_what_is_not_stored(images: Path, tmp_path: Path) -> None:
    config, items, source = arguments(images)
    first = preview(config, items, source, tmp_path / "p", 4, seed=1, progress=False)
    before = first.picture.read_bytes(), first.page.read_bytes()
    assert source.model._asked == 4
    preview(config, items, source, tmp_path / "p", 6, seed=1, progress=False)
    assert source.model._asked == 6
    again = preview(config, items, source, tmp_path / "p", 4, seed=1, progress=False)
    assert (again.picture.read_bytes(), again.page.read_bytes()) == before


def test_preview_of_nothing_but_failures(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a.png", 1, green=255)
    config, items, source = arguments(tmp_path / "images")
    with pytest.raises(DataError, match=r"None of the 1 images .* a\.png: .*too <green>"):
        preview(config, items, source, tmp_path / "p", 5, progress=False)


def test_dropped_masks_are_outlined_over_gray() -> None:
    pixels = np.full((100, 100, 3), (200, 40, 40), np.uint8)
    mask = disc(100, 100, 50, 50, 30)
    instance = Instance(0, masks.encode(mask), 0.3)
    drawn = draw_dropped(pixels, [Rejected(instance, "confidence")], Classes(("disc",)))
    assert drawn[95, 5].tolist() == [drawn[95, 5, 0]] * 3
    assert drawn[50, 50].tolist() == drawn[95, 5].tolist()
    edge = mask & ~disc(100, 100, 50, 50, 28)
    colored = (drawn[edge] != drawn[95, 5]).any(axis=1).mean()
    assert 0.2 < colored < 0.8
    assert pixels[50, 50].tolist() == [200, 40, 40]


def test_plan_yields(images: Path, tmp_path: Path) -> None:
    config, items, source = arguments(images, refine={"confidence": 0.5})
    found = plan(config, items, source, tmp_path / "plan", 12, progress=False)
    assert (found.images, found.sampled, found.unreadable, found.failures) == (12, 12, 0, ())
    assert found.instances == pytest.approx(9)
    assert found.per_class["<disc>"]["per_image"] == pytest.approx(0.75)
    low, high = found.per_class["<disc>"]["interval"]
    # The mean of 0, 0, 1, 2 three times over has a standard error of about 0.24.
    assert low == pytest.approx(0.75 - 1.645 * 0.24, abs=0.09)
    assert high == pytest.approx(0.75 + 1.645 * 0.24, abs=0.09)
    assert found.per_class["ring"] == {"per_image": 0.0, "interval": (0.0, 0.0), "instances": 0.0}
    assert found.negatives_share == 0.5
    assert found.rejected == {"confidence": 0.75}
    assert found.seconds > found.base_seconds > 0
    assert found.memory_bytes is None or found.memory_bytes > 50_000_000
    assert "9 (" in forecast_text(found)
    json.dumps(found.as_json(), allow_nan=False)


def test_plan_scales_with_pixels_and_reuses_what_is_stored(images: Path, tmp_path: Path) -> None:
    config, items, source = arguments(images)
    measured = plan(config, items, source, tmp_path / "plan", 5, progress=False)
    assert source.model._asked == 5 and measured.overhead_measured
    # So small images take no time that could be told from none: what is kept of it is set.
    timing = json.loads((tmp_path / "plan" / "timing.json").read_text())
    (kept,) = timing.values()
    # Without the first, which is measured by itself.
    assert kept["pixels"] == 4 * 48 * 96
    kept.update(beside=0.5, once=0.25)
    (tmp_path / "plan" / "timing.json").write_text(json.dumps(timing))
    small = plan(config, items, source, tmp_path / "plan", 5, progress=False)
    assert source.model._asked == 5
    chosen = {name for _, name in seeded_sample(items, 5)}
    for _, name in items:
        if name not in chosen:
            with Image.open(images / name) as old:
                old.resize((192, 96)).save(images / name)
    large = plan(config, items, source, tmp_path / "plan", 5, progress=False)
    assert source.model._asked == 5
    # 5 images as they were, 7 of four times the pixels
    assert large.base_seconds / small.base_seconds == pytest.approx((5 + 7 * 4) / 12)
    assert large.overhead_measured
    assert large.start_seconds == pytest.approx(small.start_seconds, abs=0.2)

    def beside(found: Forecast) -> float:
        return found.seconds - found.base_seconds - found.start_seconds - found.dataset_seconds

    assert beside(small) == pytest.approx(0.5 / 4 * 12)
    assert beside(large) / beside(small) == pytest.approx((5 + 7 * 4) / 12)


def test_plan_of_disk_is_what_the_build_writes(tmp_path: Path) -> None:
    from autodistill_rfdetr_seg.pipeline.runs import label

    for at in range(8):
        image(tmp_path / "images" / f"{at}.png", 3, mode="RGBA" if at % 2 else "RGB", size=128, blue=at)
    config, items, source = arguments(tmp_path / "images")
    found = plan(config, items, source, tmp_path / "plan", 8, progress=False)
    assert found.baked_images == 4
    split = {"train": 1.0, "valid": 0, "test": 0}
    dataset = label(Discs(), tmp_path / "images", tmp_path / "run", split=split, progress=False)
    files = [p for p in (dataset.root / "train").iterdir() if p.stat().st_nlink == 1]
    info = json.loads((dataset.root / "train" / "_annotations.coco.json").read_text())["info"]
    written = sum(p.stat().st_size for p in files) - len(json.dumps(info, separators=(",", ":")))
    index = json.loads((dataset.root / "dataset.json").read_text())
    written += len(json.dumps({"images": index["images"]}, indent=2))
    assert found.dataset_bytes == pytest.approx(written, rel=0.05)
    stored = sum(p.stat().st_size for p in (tmp_path / "run" / "labels").glob("*.parquet"))
    assert found.labels_bytes == pytest.approx(stored, rel=0.1)


def test_a_row_costs_the_same_in_a_small_sample_and_in_full_shards(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for at in range(300):
        image(tmp_path / "images" / f"{at:03}.png", int(rng.integers(4)), blue=at % 250, size=48 + at // 250)
    config, items, source = arguments(tmp_path / "images")
    found = plan(config, items, source, tmp_path / "plan", 20, progress=False)
    label_images(source, items, tmp_path / "labels", progress=False)
    shards = list((tmp_path / "labels").glob("*.parquet"))
    assert len(shards) == 3
    assert found.labels_bytes == pytest.approx(sum(p.stat().st_size for p in shards), rel=0.1)


def test_memory_grows_with_the_largest_image() -> None:
    assert Memory(100, 160).forecast(3.0, 0) == 160 + 60 * 2
    assert Memory(100, 160).forecast(1.0, 1000) == 160 + 1000 * 3000
    assert Memory(None, 160).forecast(3.0, 0) == 160
    assert Memory(None, None).forecast(3.0, 10) is None


def test_a_sample_leaves_a_finished_run_as_it_is(images: Path, tmp_path: Path) -> None:
    image(images / "green.png", 1, green=255)
    config, items, source = arguments(images)
    label_images(source, items, tmp_path / "run" / "labels", root=images, progress=False)
    files = [tmp_path / "run" / "labels" / name for name in ("labels.json", "failures.jsonl")]
    before = [path.read_text() for path in files]
    assert "green.png" in before[1]
    plan(config, items, source, tmp_path / "run", 3, progress=False)
    preview(config, items, source, tmp_path / "run", 3, progress=False)
    assert [path.read_text() for path in files] == before


def test_plan_counts_failures_and_what_cannot_be_read(images: Path, tmp_path: Path) -> None:
    for at in range(3):
        image(images / f"green{at}.png", 1, green=255)
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    config, items, source = arguments(images)
    found = plan(config, items, source, tmp_path / "plan", 16, progress=False)
    assert (found.images, found.sampled, found.unreadable, len(found.failures)) == (16, 12, 1, 4)
    assert found.instances == pytest.approx(18)


def test_one_image_has_no_interval(images: Path, tmp_path: Path) -> None:
    config, items, source = arguments(images)
    found = plan(config, items, source, tmp_path / "plan", 1, progress=False)
    assert (found.instances_interval, found.seconds_interval) == (None, None)
    assert "–" in forecast_text(found)


def test_labels_without_an_image_are_no_sheet(tmp_path: Path) -> None:
    from autodistill_rfdetr_seg.drawing.contact_sheet import SheetImage, SheetText, write_sheet

    labels = ImageLabels(ImageRecord("0" * 16, "gone.png", 4, 4, "0" * 64), ())
    with pytest.raises(DataError, match=r"gone\.png"):
        write_sheet(
            tmp_path / "a.png",
            tmp_path / "a.html",
            [SheetImage(tmp_path / "gone.png", labels)],
            Classes(("disc",)),
            SheetText("t", "s", {}),
        )
    assert list(tmp_path.iterdir()) == []
