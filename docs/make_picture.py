"""Make the picture of the README from a finished run of the demo: base, target and gold of a few test scenes.

    python docs/make_picture.py [RUN] [OUT]

RUN is `runs/demo` and OUT `docs/pictures/demo.jpg` unless given. The scenes are those of the gold set with the most
objects. Base and target are drawn above the confidence that the run found best for each.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import supervision as sv
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as rle

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("base", "target", "gold")
SCENES = 2
SIDE = 320
GAP = 12
CAPTION = 34
# Okabe and Ito, "Color Universal Design" (2008): told apart by everyone.
COLORS = sv.ColorPalette.from_hex(["#E69F00", "#56B4E9", "#F0E442"])

Pixels = npt.NDArray[np.uint8]


def draw(
    pixels: Pixels, objects: Sequence[Mapping[str, Any]], names: Mapping[int, str], *, scores: bool
) -> Image.Image:
    """The objects of one scene (COCO annotations or results), as masks with class names, and with `scores`."""
    picture = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    if not objects:
        return picture
    masks = [Image.fromarray(rle.decode(one["segmentation"])).resize((SIDE, SIDE)) for one in objects]
    mask = np.stack([np.asarray(one, dtype=bool) for one in masks])
    ids = sorted(names)
    found = sv.Detections(
        xyxy=sv.mask_to_xyxy(mask).astype(float),
        mask=mask,
        class_id=np.array([ids.index(one["category_id"]) for one in objects]),
    )
    labels = [names[one["category_id"]] + (f" {one['score']:.2f}" if scores else "") for one in objects]
    for annotator in (sv.MaskAnnotator(COLORS, opacity=0.45), sv.PolygonAnnotator(COLORS, thickness=2)):
        picture = annotator.annotate(picture, found)
    writer = sv.LabelAnnotator(COLORS, text_color=sv.Color.BLACK, text_scale=0.4, text_padding=3, smart_position=True)
    drawn: Image.Image = writer.annotate(picture, found, labels=labels)
    return drawn


def read(run: Path) -> tuple[list[dict[str, Any]], list[list[list[Any]]], dict[int, str]]:
    """The chosen images of the gold set, the objects of each by column, and the names of classes."""
    gold = json.loads((run / "scenes" / "gold" / "_annotations.coco.json").read_text(encoding="utf-8"))
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    columns: list[dict[int, list[Any]]] = []
    for who in COLUMNS[:2]:
        results = json.loads((run / "evaluation" / f"{who}.json").read_text(encoding="utf-8"))
        least = metrics[who]["best_confidence"]
        columns.append(by_image(one for one in results if one["score"] >= least))
    columns.append(by_image(gold["annotations"]))
    seen = {one["image_id"] for one in results}
    scored = [one for one in gold["images"] if one["id"] in seen]
    chosen = sorted(scored, key=lambda one: (-len(columns[2][one["id"]]), one["id"]))[:SCENES]
    objects = [[column[one["id"]] for column in columns] for one in chosen]
    return chosen, objects, {one["id"]: one["name"] for one in gold["categories"]}


def by_image(objects: Any) -> dict[int, list[Any]]:
    """Annotations or results, by the id of their image."""
    found: dict[int, list[Any]] = defaultdict(list)
    for one in objects:
        found[one["image_id"]].append(one)
    return found


def main(run: str = "runs/demo", out: str = str(ROOT / "docs" / "pictures" / "demo.jpg")) -> None:
    """Writes the picture."""
    images, objects, names = read(Path(run))
    step = SIDE + GAP
    sheet = Image.new("RGB", (step * len(COLUMNS) - GAP, CAPTION + step * len(images) - GAP), "white")
    text = ImageDraw.Draw(sheet)
    for at, caption in enumerate(COLUMNS):
        text.text((at * step + 4, 6), caption, fill="black", font=ImageFont.load_default(18))
    for row, (image, shown) in enumerate(zip(images, objects, strict=True)):
        pixels = np.asarray(Image.open(Path(run) / "scenes" / "gold" / image["file_name"]).convert("RGB"))
        for at, some in enumerate(shown):
            panel = draw(pixels, some, names, scores=COLUMNS[at] != "gold")
            sheet.paste(panel, (at * step, CAPTION + row * step))
    sheet.save(out, quality=82, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
