"""Images of a lamp, a base in a file that finds it, and the real command line, here or in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

# Bright pixels are one instance. A black corner makes it raise, a white one hang, a red one die.
BASE = """
import os, time
import numpy as np
import supervision as sv

class Bright:
    def __init__(self, ontology, pause=0.0):
        self.ontology, self.pause = ontology, pause

    def predict(self, image):
        time.sleep(self.pause)
        corner = image[0, 0].tolist()
        if corner == [0, 0, 0]:
            raise ValueError("a black corner")
        if corner == [255, 255, 255]:
            time.sleep(3600)
        if corner == [0, 0, 255]:
            os._exit(7)
        mask = (image[:, :, 1] > 150)[None]
        mask[0, 0, 0] = False
        score = float(image[5, 5, 0]) / 255
        return sv.Detections(xyxy=sv.mask_to_xyxy(mask).astype(float), mask=mask, class_id=np.array([0]),
                             confidence=np.array([score]))
"""


def scene(path: Path, number: int, corner: tuple[int, int, int] | None = None) -> None:
    pixels = np.random.default_rng(number).integers(30, 60, (48, 56, 3)).astype(np.uint8)
    pixels[10 + number % 20 : 25 + number % 20, 12:40] = 200
    if corner is not None:
        pixels[0, 0] = corner
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def arguments(photos: Path, output: Path, *more: str, pause: float = 0.0) -> list[str]:
    """Those of `label`, with the base in `base.py` beside the folder `photos`."""
    base = f"{photos.parent / 'base.py'}:Bright"
    named = ["--base", base, "--base-arg", f"pause={pause}", "--class", "bright=lamp"]
    return ["label", str(photos), *named, "--output", str(output), "-q", *more]


def annotations(run: Path) -> dict[str, bytes]:
    found = {p.relative_to(run).as_posix(): p.read_bytes() for p in sorted((run / "dataset").rglob("*.coco.json"))}
    assert found
    return found
