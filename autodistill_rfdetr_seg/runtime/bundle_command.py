"""Runs the exported model of a bundle, and checks that it finds what the trained model found in PyTorch."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .instance_mask import Mask
from .instance_matching import match_instances
from .model_input import make_input
from .output_decoding import Detection, decode_output

Array = np.ndarray[Any, Any]
# What an image file that is missing or damaged raises.
ERRORS = (OSError, Image.DecompressionBombError)
# What `golden/` has of each instance.
GOLDEN_FIELDS = ("class_id", "score", "xyxy", "mask")


class Model:
    """The model of a bundle's `folder`, in onnxruntime."""

    def __init__(self, folder: Path, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        import onnxruntime

        self.folder = folder
        self.spec: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=list(providers))

    def predict(self, images: Sequence[Array], confidence: float = 0.5) -> list[list[Detection]]:
        """The instances, best first, of each of up to `batch_size` images (H, W, 3) uint8 RGB."""
        raw = self.session.run(["dets", "labels", "masks"], {"input": make_input(images, self.spec)})
        return [
            decode_output([x[at] for x in raw], one.shape[:2], self.spec, confidence) for at, one in enumerate(images)
        ]


def read_image(path: Path) -> Array:
    """An image file as (H, W, 3) uint8 RGB, turned by its EXIF orientation; gray of more than 8 bits scaled to 8."""
    with path.open("rb") as file:  # given a path, Pillow reads some turned TIFFs with their width as height
        upright = ImageOps.exif_transpose(Image.open(file))
    if upright.mode[0] not in "IF":
        return np.asarray(upright.convert("RGB"))
    gray = np.asarray(upright, dtype=np.float64)
    top = next((2**n - 1 for n in (8, 10, 12, 14, 16) if upright.mode != "F" and gray.max() < 2**n), gray.max() or 1)
    return np.repeat(np.clip(gray * 255 // top, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def as_json(found: Detection, names: Sequence[str]) -> dict[str, Any]:
    """An instance as printed; its mask is COCO's uncompressed RLE: lengths of runs down the columns."""
    mask = found.mask
    flat = np.concatenate([[False], mask.ravel(order="F")])
    counts = np.diff(np.flatnonzero(flat[1:] != flat[:-1]), prepend=0, append=mask.size).tolist()
    data = {"class_id": found.class_id, "class_name": names[found.class_id], "score": found.score}
    return data | {"xyxy": found.xyxy.tolist(), "segmentation": {"size": list(mask.shape), "counts": counts}}


def check(model: Model, golden: Path) -> list[str]:
    """What differs from `expected.json`, a sentence each; every image is tried in every place of a batch."""
    expected = json.loads((golden / "expected.json").read_text(encoding="utf-8"))
    over, tolerance, wrong, ious = expected["images"], expected["score_difference"], [], []
    for turn in range(len(over)):
        batch = [list(over)[(turn + place) % len(over)] for place in range(model.spec["batch_size"] or 1)]
        results = model.predict([read_image(golden / name) for name in batch], min(over.values()) - tolerance)
        for place, (name, found) in enumerate(zip(batch, results, strict=True), 1):
            with np.load(golden / f"{name}.npz") as file:
                rows = zip(*(file[field] for field in GOLDEN_FIELDS), strict=True)
                gold = [Detection(int(c), float(score), box, Mask.from_pixels(mask)) for c, score, box, mask in rows]
            pairs, gone, left = match_instances(gold, found, tolerance)
            ious += [iou for *_, iou in pairs]
            for what, some in (("missing", gone), ("extra", [f for f in left if f.score > over[name] + tolerance])):
                wrong += [f"{name} in place {place}: {what}: class {f.class_id} with score {f.score:.3f}" for f in some]
    return wrong + [f"the mean mask IoU is {mean:.4f}" for mean in [np.mean(ious or 1)] if mean < expected["mask_iou"]]


def main(folder: Path) -> int:
    """Prints an image's instances as JSON, or what differs in the check; returns the exit code."""
    parser = argparse.ArgumentParser(description="Find instances in an image, or check the model against golden/.")
    parser.add_argument("image", nargs="?", type=Path, help="an image file; without one, the check")
    parser.add_argument("--confidence", type=float, default=0.5, help="show instances over this (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="compare with golden/; exits with 1 where it differs")
    args, model = parser.parse_args(), Model(folder)
    if args.image and not args.check:
        found = model.predict([read_image(args.image)], args.confidence)[0]
        sys.stdout.write(json.dumps([as_json(one, model.spec["class_names"]) for one in found], indent=1) + "\n")
        return 0
    wrong = check(model, folder / "golden")
    sys.stdout.write("\n".join([*wrong, f"{len(wrong)} differences"]) + "\n")
    return 1 if wrong else 0
