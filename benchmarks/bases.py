"""Measures the time per image of `grounded-sam-hf` in four ways, against `autodistill_grounded_sam` as published.

    python benchmarks/bases.py [--sam vit_b|vit_l|vit_h] [--sam2 base-plus|tiny] [--size 640x480] [--repeat 1]
        [--repeat-baseline 1] [--boxes 20] [--prompt "a cat"] [--threads 1] [--device cpu|cuda] [--way NAME] [--json]

By default it uses the published architectures with random weights, which find nothing useful. Of each detector pass the
best `boxes / passes` queries are kept at the end of the network, so that all ways segment the same number of boxes. It
measures the whole `predict`, from the BGR array to masks of its size. The baseline runs with transformers 5 by means of
`groundingdino_compat`, and with the SAM of `--sam` (its own is vit_h). The rows "+ same SAM" use the same SAM weights;
the two Grounding DINOs have the same architecture, each with its own random weights. On a CPU the seconds are processor
time of all threads; on a GPU they are wall time, after one batch that is not counted. It takes about 5 minutes on an
idle CPU.

    python benchmarks/bases.py --images DIR --model IDEA-Research/grounding-dino-tiny
        --segmenter-model facebook/sam2.1-hiera-base-plus --sam-model facebook/sam-vit-huge

uses published weights and their usual thresholds instead; the baseline uses the weights in its cache. Only then is it
meaningful how often joint and exact captions agree.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import random_weights
from benchmark_helpers import make_images

BASELINE = "autodistill_grounded_sam"
# Way → its mode and segmenter.
WAYS = {
    "exact + same SAM": ("exact", "sam"),
    "joint + same SAM": ("joint", "sam"),
    "exact + SAM 2": ("exact", "sam2"),
    "joint + SAM 2": ("joint", "sam2"),
}
PROMPTS = ("a cat", "a dog", "a red car", "a bicycle", "a traffic light")


@dataclass(frozen=True)
class Row:
    """One way: boxes and seconds per image, and the seconds of each of the three networks."""

    way: str
    prompts: int
    images: int
    boxes: float
    seconds: float
    wall: float
    detector: float
    encoder: float
    decoder: float
    ratio: float | None = None


class ModuleTimer:
    """Measures the seconds of a whole call and of modules in it, after waiting for the GPU."""

    def __init__(self, cuda: bool) -> None:
        self._cuda = cuda
        self.spent: dict[str, float] = {}

    def now(self) -> float:
        """Seconds: processor time, or wall time with a GPU."""
        if not self._cuda:
            return time.process_time()
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def follow(self, **modules: Any) -> None:
        """Adds up the seconds of the calls of these modules, by name."""
        for name, module in modules.items():
            started: list[float] = []
            module.register_forward_pre_hook(lambda *_, started=started: started.append(self.now()))
            module.register_forward_hook(lambda *_, name=name, started=started: self._add(name, started.pop()))

    def _add(self, name: str, started: float) -> None:
        self.spent[name] = self.spent.get(name, 0) + self.now() - started


def agreement(a: Any, b: Any, iou: float = 0.5) -> float:
    """The fraction of the boxes of two `sv.Detections` that match one of the other: same class, at least `iou`."""
    import supervision as sv

    if len(a) == 0 or len(b) == 0:
        return float(len(a) == len(b))
    same = (sv.box_iou_batch(a.xyxy, b.xyxy) >= iou) & (a.class_id[:, None] == b.class_id[None])
    return float(same.any(axis=0).sum() + same.any(axis=1).sum()) / (len(a) + len(b))


def keep_best(network: Any, count: int) -> None:
    """Makes a Grounding DINO return only the `count` queries with the best scores for each image."""

    def cut(_module: Any, _inputs: Any, outputs: Any) -> Any:
        scores = "pred_logits" if "pred_logits" in outputs else "logits"
        best = outputs[scores].amax(dim=-1).topk(count).indices[..., None]
        for name in (scores, "pred_boxes"):
            outputs[name] = outputs[name].gather(1, best.expand(-1, -1, outputs[name].shape[-1]))
        return outputs

    network.register_forward_hook(cut)


def baseline(args: argparse.Namespace, home: Path | None, timer: ModuleTimer) -> Any:
    """`GroundedSAM` of its package, with the cache in the folder `home` or in the user's home folder."""
    from autodistill.detection import CaptionOntology

    with contextlib.redirect_stdout(sys.stderr):
        from autodistill_grounded_sam import GroundedSAM
        from segment_anything import sam_model_registry

        if home is not None:
            os.environ["HOME"] = str(home)
            sam_model_registry["vit_h"] = sam_model_registry[args.sam]
        thresholds = {} if home is None else {"box_threshold": 0.0, "text_threshold": 0.0}
        base = GroundedSAM(CaptionOntology({p: p for p in args.prompt}), **thresholds)
    network, sam = base.grounding_dino_model.model, base.sam_predictor.model
    timer.follow(detector=network, encoder=sam.image_encoder, decoder=sam.mask_decoder)
    if home is not None:
        keep_best(network, args.boxes // len(args.prompt))
    return base


def ours(args: argparse.Namespace, way: str, model: str, segmenter_model: str, timer: ModuleTimer) -> Any:
    """`grounded-sam-hf` in one of the ways."""
    from autodistill_rfdetr_seg.bases.registry import create_base
    from autodistill_rfdetr_seg.core.types import Classes

    mode, segmenter = WAYS[way]
    thresholds = {} if args.model else {"box_threshold": 0.0, "text_threshold": 0.0}
    options = {"model": model, "segmenter": segmenter, "segmenter_model": segmenter_model, "mode": mode}
    options |= {"device": args.device, "dtype": args.dtype}
    base = create_base("grounded-sam-hf", Classes.from_ontology({p: p for p in args.prompt}), {**options, **thresholds})
    network, sam = base.detector._network, base.segmenter._model
    timer.follow(detector=network, encoder=sam.vision_encoder, decoder=sam.mask_decoder)
    if not args.model:
        keep_best(network, args.boxes // len(base.detector._captions))
    return base


def measure(
    way: str, base: Any, images: Sequence[Any], args: argparse.Namespace, timer: ModuleTimer
) -> tuple[Row, list[Any]]:
    """The seconds per image, and the predictions."""
    batch = base.preferred_batch if hasattr(base, "preferred_batch") else 1

    def predict(some: Sequence[Any]) -> list[Any]:
        if hasattr(base, "predict_batch"):
            return list(base.predict_batch(some))
        return [base.predict(image) for image in some]

    if args.device == "cuda":
        # Other pixels, because the features of an image are cached.
        predict([image[::-1].copy() for image in images[:batch]])
    timer.spent.clear()
    started, clock = time.perf_counter(), timer.now()
    results = [result for at in range(0, len(images), batch) for result in predict(images[at : at + batch])]
    count = len(images)
    seconds, wall = (timer.now() - clock) / count, (time.perf_counter() - started) / count
    for image, result in zip(images, results, strict=True):
        if len(result) and result.mask.shape != (len(result), *image.shape[:2]):
            raise SystemExit(f"{way}: masks {result.mask.shape} for {len(result)} boxes")
    parts = {name: timer.spent.get(name, 0.0) / count for name in ("detector", "encoder", "decoder")}
    boxes = sum(map(len, results)) / count
    return Row(way, len(args.prompt), count, boxes, seconds, wall, **parts), results


def load_images(args: argparse.Namespace, folder: Path) -> list[Any]:
    """BGR arrays of the user's images, or of drawn ones that all differ."""
    from autodistill_rfdetr_seg.images.image_opening import open_rgb

    if args.images is None:
        width, height = (int(part) for part in args.size.split("x"))
        per_batch = 8 if args.device == "cuda" else 1
        make_images(folder, max(args.repeat * per_batch, args.repeat_baseline), [(width, height)])
    suffixes = (".jpg", ".jpeg", ".png")
    paths = sorted(path for path in (args.images or folder).iterdir() if path.suffix.lower() in suffixes)
    return [np.ascontiguousarray(open_rgb(path)[:, :, ::-1]) for path in paths]


def base_makers(args: argparse.Namespace, work: Path) -> Iterator[tuple[str, Callable[[ModuleTimer], Any]]]:
    """Each way to measure with a function that makes its base; also writes the random weights."""
    wanted = [way for way in (BASELINE, *WAYS) if not args.way or way in args.way]
    weights = {"sam": args.sam_model, "sam2": args.segmenter_model}
    model = args.model
    if not args.model:
        model = str(random_weights.save_dino(work / "dino", args.prompt))
        weights["sam"] = str(random_weights.save_sam(work / "sam", args.sam))
        weights["sam2"] = str(random_weights.save_sam2(work / "sam2", args.sam2))
    for way in wanted:
        if way == BASELINE:
            home = None
            if not args.model:
                home = random_weights.save_home(work / "home", args.prompt, Path(weights["sam"]), args.sam)
            yield way, lambda timer, home=home: baseline(args, home, timer)
        elif (path := weights[WAYS[way][1]]) is not None:
            yield way, lambda timer, way=way, path=path: ours(args, way, model, path, timer)


def main() -> None:
    """Prints the table."""
    args = arguments()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    if args.device == "cpu":
        # The baseline uses a GPU if there is one.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import cv2
    import torch

    import autodistill_rfdetr_seg  # noqa: F401 - repairs groundingdino

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    rows: list[Row] = []
    results: dict[str, list[Any]] = {}
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as work:
        images = load_images(args, Path(work) / "images")
        for way, make in base_makers(args, Path(work)):
            timer = ModuleTimer(args.device == "cuda")
            base = make(timer)
            some = images[: args.repeat_baseline] if way == BASELINE else images
            row, results[way] = measure(way, base, some, args, timer)
            against = rows[0].seconds if rows and rows[0].way == BASELINE else None
            rows.append(dataclasses.replace(row, ratio=against and against / row.seconds))
            print(f"{way}: {row.seconds:.1f} s per image", file=sys.stderr)
            load.append(os.getloadavg()[0])
            del base
            gc.collect()
            if args.device == "cuda":
                torch.cuda.empty_cache()
    report(args, rows, agreements(results), load)


def agreements(results: dict[str, list[Any]]) -> dict[str, float]:
    """The mean agreement per image of joint with exact captions, and of exact captions with the baseline."""
    first = {WAYS[way][0] if way in WAYS else way: found for way, found in reversed(results.items())}
    return {
        f"{one} and {other}": float(np.mean([agreement(a, b) for a, b in zip(first[one], first[other], strict=False)]))
        for one, other in itertools.pairwise(("joint", "exact", BASELINE))
        if one in first and other in first
    }


def report(args: argparse.Namespace, rows: Sequence[Row], agreed: dict[str, float], load: Sequence[float]) -> None:
    """Prints the results."""
    import torch
    import transformers

    weights = "published" if args.model else f"random (SAM {args.sam}, SAM 2 {args.sam2})"
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {args.threads} thread(s)"
    about = {"weights": weights, "device": where, "torch": torch.__version__, "transformers": transformers.__version__}
    about |= {
        "size": args.size if args.images is None else str(args.images),
        "load": f"{min(load):.1f}…{max(load):.1f}",
    }
    if args.json:
        found = {"about": about, "rows": [dataclasses.asdict(row) for row in rows], "agreement": agreed}
        print(json.dumps(found, indent=2))
        return
    print("; ".join(f"{name} {value}" for name, value in about.items()))
    if not args.model:
        print(f"each pass is cut to its best {args.boxes} / passes queries: random weights find nothing useful")
    kind = "wall s" if args.device == "cuda" else "cpu s"
    print(
        f"{'way':<26}{'prompts':>8}{'images':>7}{'boxes':>7}{kind:>8}{'wall s':>8}"
        f"{'detector':>10}{'encoder':>9}{'decoder':>9}{'ratio':>8}"
    )
    for row in rows:
        print(
            f"{row.way:<26}{row.prompts:>8}{row.images:>7}{row.boxes:>7.1f}{row.seconds:>8.2f}{row.wall:>8.2f}"
            f"{row.detector:>10.2f}{row.encoder:>9.2f}{row.decoder:>9.2f}"
            + (f"{row.ratio:>7.2f}x" if row.ratio else f"{'–':>8}")
        )
    for pair, fraction in agreed.items():
        print(f"{pair} agree on {fraction:.0%} of boxes{'' if args.model else ' (random weights: not meaningful)'}")


def arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prompt", action="append", help="repeatable; each is a class")
    parser.add_argument("--boxes", type=int, default=20, help="boxes per image, with random weights")
    parser.add_argument(
        "--sam", choices=random_weights.SAMS, default="vit_b", help="SAM of the baseline, with random weights"
    )
    parser.add_argument("--sam2", choices=random_weights.SAM2S, default="base-plus", help="SAM 2, with random weights")
    parser.add_argument("--size", default="640x480", help="size of drawn images, WxH")
    parser.add_argument("--repeat", type=int, default=1, help="number of drawn images; on a GPU, of batches of 8")
    parser.add_argument("--repeat-baseline", type=int, default=1, help="images for the baseline")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", default="auto", help="data type of grounded-sam-hf")
    parser.add_argument("--way", action="append", choices=(BASELINE, *WAYS), help="repeatable; default: all")
    parser.add_argument("--images", type=Path, help="a folder of images to use instead of drawn ones")
    parser.add_argument("--model", help="weights of Grounding DINO, a folder or model id; then no weights are random")
    parser.add_argument("--segmenter-model", help="weights of SAM 2, a folder or model id")
    parser.add_argument("--sam-model", help="weights of SAM, a folder or model id")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.prompt = args.prompt or list(PROMPTS)
    if not args.model and args.boxes % len(args.prompt):
        parser.error("--boxes must be a multiple of the number of prompts")
    return args


if __name__ == "__main__":
    main()
