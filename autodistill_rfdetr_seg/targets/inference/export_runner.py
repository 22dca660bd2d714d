"""Runs an exported RF-DETR Seg model without torch: an image comes in, instances with masks of its size go out."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

Array = np.ndarray[Any, Any]
HERE = Path(__file__).resolve().parent


class Detection(NamedTuple):
    """One instance: 0-based class, score 0..1, box [x0, y0, x1, y1] in pixels, mask (height, width) bool."""

    class_id: int
    score: float
    xyxy: Array
    mask: Array

    def iou(self, other: "Detection") -> float:
        """Intersection over union of two masks of one size; 1 for two empty masks."""
        union = (self.mask | other.mask).sum()
        return float((self.mask & other.mask).sum() / union) if union else 1.0


def resize(planes: Any, height: int, width: int) -> Any:
    """An array (..., H, W) in another size, float32: bilinear between pixel centers, not smoothed where it shrinks."""
    for axis, size in ((-2, height), (-1, width)):
        known = planes.shape[axis]
        at = np.clip((np.arange(size, dtype=np.float32) + 0.5) * np.float32(known / size) - 0.5, 0, known - 1)
        low = at.astype(np.int64)
        weight = (at - low).astype(np.float32).reshape((-1, 1) if axis == -2 else (-1,))
        planes = planes.take(low, axis) * (1 - weight) + planes.take(np.minimum(low + 1, known - 1), axis) * weight
    return planes


def preprocess(images: Sequence[Array], spec: Mapping[str, Any]) -> Any:
    """The model's input (batch, 3, S, S) float32 of images (H, W, 3) uint8 RGB; the last image fills empty places."""
    mean, std = (np.asarray(spec[name], dtype=np.float32).reshape(3, 1, 1) for name in ("mean", "std"))
    planes = [resize(image.transpose(2, 0, 1), spec["input_size"], spec["input_size"]) for image in images]
    return (np.stack(planes + planes[-1:] * (spec["batch_size"] - len(planes))) / np.float32(255) - mean) / std


def decode(raw: Sequence[Array], size: Sequence[int], spec: Mapping[str, Any], confidence: float) -> list[Detection]:
    """The instances over `confidence`, best first, of `raw`: boxes (queries, 4: center and size, 0..1), logits
    (queries, slots), mask logits (queries, h, w). The best `num_select` logits count, without those of no class."""
    boxes, logits, masks = raw
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float32), -88, 88)))
    order = np.argsort(-scores, axis=None, kind="stable")[: spec["num_select"]]
    frame, found = np.array([size[1], size[0], size[1], size[0]], dtype=np.float32), []
    for query, slot in zip(*np.unravel_index(order, scores.shape), strict=True):
        class_id, score = spec["slots"][slot], float(scores[query, slot])
        if class_id is not None and score > confidence:
            x, y, w, h = boxes[query]
            box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dtype=np.float32) * frame
            found.append(Detection(class_id, score, np.clip(box, 0, frame), resize(masks[query], size[0], size[1]) > 0))
    return found


class Model:
    """The model beside this file, in onnxruntime."""

    def __init__(self, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        import onnxruntime

        self.spec: dict[str, Any] = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
        self.session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=list(providers))

    def predict(self, images: Sequence[Array], confidence: float = 0.5) -> list[list[Detection]]:
        """The instances, best first, of each of up to `batch_size` images (H, W, 3) uint8 RGB."""
        raw = self.session.run(["dets", "labels", "masks"], {"input": preprocess(images, self.spec)})
        return [decode([x[at] for x in raw], one.shape[:2], self.spec, confidence) for at, one in enumerate(images)]


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
    flat = np.concatenate([[False], found.mask.ravel(order="F")])
    counts = np.diff(np.flatnonzero(flat[1:] != flat[:-1]), prepend=0, append=found.mask.size).tolist()
    data = {"class_id": found.class_id, "class_name": names[found.class_id], "score": found.score}
    return data | {"xyxy": found.xyxy.tolist(), "segmentation": {"size": list(found.mask.shape), "counts": counts}}


def match_instances(gold: Sequence[Detection], found: Sequence[Detection], tolerance: float) -> tuple[list[Any], ...]:
    """Matches of one class, scores within `tolerance`, IoU from 0.5: (gold, found, IoU); what is missing; the rest."""
    pairs, missing, left = [], [], dict(enumerate(found))
    for one in gold:
        near = [i for i, f in left.items() if f.class_id == one.class_id and abs(f.score - one.score) <= tolerance]
        iou, at = max(((one.iou(left[i]), -i) for i in near), default=(0.0, 0))
        if iou < 0.5:
            missing.append(one)
        else:
            pairs.append((one, left.pop(-at), iou))
    return pairs, missing, list(left.values())


def check(model: Model, golden: Path) -> list[str]:
    """What differs from `expected.json`, a sentence each; every image is tried in every place of a batch."""
    expected = json.loads((golden / "expected.json").read_text(encoding="utf-8"))
    over, tolerance, wrong, ious = expected["images"], expected["score_difference"], [], []
    for turn in range(len(over)):
        batch = [list(over)[(turn + place) % len(over)] for place in range(model.spec["batch_size"])]
        results = model.predict([read_image(golden / name) for name in batch], min(over.values()) - tolerance)
        for place, (name, found) in enumerate(zip(batch, results, strict=True), 1):
            with np.load(golden / f"{name}.npz") as file:
                gold = [Detection(*one) for one in zip(*(file[field] for field in Detection._fields), strict=True)]
            pairs, gone, left = match_instances(gold, found, tolerance)
            ious += [iou for *_, iou in pairs]
            for what, some in (("missing", gone), ("extra", [f for f in left if f.score > over[name] + tolerance])):
                wrong += [f"{name} in place {place}: {what}: class {f.class_id} with score {f.score:.3f}" for f in some]
    return wrong + [f"the mean mask IoU is {mean:.4f}" for mean in [np.mean(ious or 1)] if mean < expected["mask_iou"]]


def main() -> int:
    """Prints an image's instances as JSON, or what differs in the check; returns the exit code."""
    parser = argparse.ArgumentParser(description="Find instances in an image, or check the model against golden/.")
    parser.add_argument("image", nargs="?", type=Path, help="an image file; without one, the check")
    parser.add_argument("--confidence", type=float, default=0.5, help="show instances over this (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="compare with golden/; exits with 1 where it differs")
    args, model = parser.parse_args(), Model()
    if args.image and not args.check:
        found = model.predict([read_image(args.image)], args.confidence)[0]
        sys.stdout.write(json.dumps([as_json(one, model.spec["class_names"]) for one in found], indent=1) + "\n")
        return 0
    wrong = check(model, HERE / "golden")
    sys.stdout.write("\n".join([*wrong, f"{len(wrong)} differences"]) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, Image.DecompressionBombError) as error:  # the file is missing, or not an image
        sys.exit(f"Error: {error}")
