"""Runs the exported model of a bundle, and checks that it finds what the trained model found in PyTorch."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .duplicate_removal import DuplicateLimits
from .instance_mask import Mask
from .instance_matching import match_instances
from .network_prediction import predict_with_network
from .output_decoding import Detection
from .prediction_rules import PredictionRules

Array = np.ndarray[Any, Any]
# What an image file that is missing or damaged, or a wrong option, raises.
ERRORS = (OSError, ValueError, Image.DecompressionBombError)
# What `golden/` has of each instance.
GOLDEN_FIELDS = ("class_id", "score", "xyxy", "mask")


class Model:
    """The model of a bundle's `folder`, in onnxruntime."""

    def __init__(self, folder: Path, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        import onnxruntime

        self.folder = folder
        self.spec: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=list(providers))

    def find(self, images: Sequence[Array], confidence: float) -> list[list[Detection]]:
        """All that the model finds above `confidence` in images (H, W, 3) uint8 RGB, best first."""
        return predict_with_network(self._run_network, images, self.spec, confidence)[0]

    def _run_network(self, batch: Array) -> Any:
        return self.session.run(["dets", "labels", "masks"], {"input": batch})

    def predict(
        self,
        images: Sequence[Array],
        confidence: float | Mapping[str, float] | str = 0.5,
        tiles: int | None = None,
        overlap: float = 0.2,
        duplicates: DuplicateLimits | None = None,
    ) -> list[list[Detection]]:
        """The instances, best first, of images (H, W, 3) uint8 RGB.

        `confidence` is a value, values by class name, or "best" for those of model.json. With `tiles` large images are
        predicted in tiles of that many pixels. `duplicates` says when an instance is removed as the duplicate of a
        better one, by default as model.json does; `DuplicateLimits()` removes none.

        Raises:
            ValueError: a class is unknown, a value is out of range, or no best confidence is known.
        """
        limits = self.spec["duplicates"]
        if duplicates is None:
            duplicates = DuplicateLimits(limits["nms_iou"], limits["nms_iom"], limits["agnostic_nms_iou"])
        rules = PredictionRules(self.thresholds(confidence), tiles, overlap, duplicates)
        return rules.predict(self.find, images)

    def thresholds(self, confidence: float | Mapping[str, float] | str) -> float | tuple[float, ...]:
        """The confidence for all classes, or one for each in order, of what `predict` is given."""
        if confidence == "best":
            confidence = self.spec["best_confidence"]
            if confidence is None:
                raise ValueError("No best confidence is known: the model was exported before it was evaluated.")
        by_class = confidence if isinstance(confidence, Mapping) else {}
        names = self.spec["class_names"]
        for name in by_class:
            if name not in names:
                raise ValueError(f"There is no class {name!r}; the model has {', '.join(names)}.")
        values = [*by_class.values()] if by_class else [float(confidence)]  # type: ignore[arg-type]
        if not all(0 <= value <= 1 for value in values):
            raise ValueError(f"A confidence must be between 0 and 1, not {max(values):g}.")
        return tuple(float(by_class.get(name, 0.5)) for name in names) if by_class else values[0]


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
        results = model.find([read_image(golden / name) for name in batch], min(over.values()) - tolerance)
        for place, (name, found) in enumerate(zip(batch, results, strict=True), 1):
            with np.load(golden / f"{name}.npz") as file:
                rows = zip(*(file[field] for field in GOLDEN_FIELDS), strict=True)
                gold = [Detection(int(c), float(score), box, Mask.from_pixels(mask)) for c, score, box, mask in rows]
            pairs, gone, left = match_instances(gold, found, tolerance)
            ious += [iou for *_, iou in pairs]
            for what, some in (("missing", gone), ("extra", [f for f in left if f.score > over[name] + tolerance])):
                wrong += [f"{name} in place {place}: {what}: class {f.class_id} with score {f.score:.3f}" for f in some]
    return wrong + [f"the mean mask IoU is {mean:.4f}" for mean in [np.mean(ious or 1)] if mean < expected["mask_iou"]]


def _confidence(values: Sequence[str]) -> Any:
    by_class, whole = {}, "0.5"
    for text in values:
        name, _, value = text.rpartition("=")
        if name:
            by_class[name] = float(value)
        else:
            whole = value
    if by_class and whole != "0.5":
        raise ValueError("Give a confidence for all classes, or for single ones.")
    return by_class or ("best" if whole == "best" else float(whole))


def main(folder: Path) -> int:
    """Prints an image's instances as JSON, or what differs in the check; returns the exit code."""
    parser = argparse.ArgumentParser(description="Find instances in an image, or check the model against golden/.")
    parser.add_argument("image", nargs="?", type=Path, help="an image file; without one, the check")
    parser.add_argument(
        "--confidence",
        action="append",
        metavar="X|NAME=X|best",
        help="show instances over this, for all classes or one; best: as in model.json (default: 0.5)",
    )
    parser.add_argument("--tiles", type=int, metavar="N", help="predict a large image in tiles of N x N pixels")
    parser.add_argument("--overlap", type=float, default=0.2, help="fraction of a tile that the next one repeats")
    parser.add_argument("--keep-duplicates", action="store_true", help="show duplicates of better instances too")
    parser.add_argument("--check", action="store_true", help="compare with golden/; exits with 1 where it differs")
    args, model = parser.parse_args(), Model(folder)
    if args.image and not args.check:
        found = model.predict(
            [read_image(args.image)],
            _confidence(args.confidence or []),
            args.tiles,
            args.overlap,
            DuplicateLimits() if args.keep_duplicates else None,
        )[0]
        sys.stdout.write(json.dumps([as_json(one, model.spec["class_names"]) for one in found], indent=1) + "\n")
        return 0
    wrong = check(model, folder / "golden")
    sys.stdout.write("\n".join([*wrong, f"{len(wrong)} differences"]) + "\n")
    return 1 if wrong else 0
