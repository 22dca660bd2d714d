"""What an image costs: `grounded-sam-hf` in four ways, and `autodistill_grounded_sam` as it ships, the baseline.

    python benchmarks/bases.py [--sam vit_b|vit_l|vit_h] [--sam2 base-plus|tiny] [--size 640x480] [--repeat 1]
        [--repeat-baseline 1] [--boxes 20] [--prompt "a cat"] [--threads 1] [--device cpu|cuda] [--way NAME] [--json]

By itself it makes models of the published architectures with random weights, which find nothing sensible: of each
detector pass the best `boxes / passes` queries are kept, at the network's end, the same in all ways, so that each has
as many boxes to segment. Measured is the whole `predict`, from the BGR array to masks of its size. The baseline runs
beside transformers 5 by `groundingdino_compat`, and with the SAM that `--sam` names (its own is vit_h), whose weights
the rows "+ same SAM" share; the two Grounding DINOs are of one architecture, each with random weights of its own. On a
CPU seconds are processor time of all threads; on a GPU wall time, after one batch that is not counted. It takes about
5 minutes of a CPU that does nothing else.

    python benchmarks/bases.py --images DIR --model IDEA-Research/grounding-dino-tiny
        --segmenter-model facebook/sam2.1-hiera-base-plus --sam-model facebook/sam-vit-huge

takes published weights and their usual thresholds instead, and the baseline those of its own cache. How often joint and
exact captions agree is of interest then alone.
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
from drawn import make_images

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
    """One way: boxes and seconds an image, and what of these the three networks took."""

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


class Watch:
    """Seconds, of a whole and of the modules in it; a GPU is waited for."""

    def __init__(self, cuda: bool) -> None:
        self._cuda = cuda
        self.spent: dict[str, float] = {}

    def now(self) -> float:
        """Seconds: of the processor, or of the wall where a GPU works."""
        if not self._cuda:
            return time.process_time()
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def follow(self, **modules: Any) -> None:
        """Adds up what calls of these modules take, each under its name."""
        for name, module in modules.items():
            started: list[float] = []
            module.register_forward_pre_hook(lambda *_, started=started: started.append(self.now()))
            module.register_forward_hook(lambda *_, name=name, started=started: self._add(name, started.pop()))

    def _add(self, name: str, started: float) -> None:
        self.spent[name] = self.spent.get(name, 0) + self.now() - started


def agreement(a: Any, b: Any, iou: float = 0.5) -> float:
    """The share of the boxes of either `sv.Detections` that the other has as well: same class, IoU of `iou` or more."""
    import supervision as sv

    if len(a) == 0 or len(b) == 0:
        return float(len(a) == len(b))
    same = (sv.box_iou_batch(a.xyxy, b.xyxy) >= iou) & (a.class_id[:, None] == b.class_id[None])
    return float(same.any(axis=0).sum() + same.any(axis=1).sum()) / (len(a) + len(b))


def keep_best(network: Any, count: int) -> None:
    """Of each item of a Grounding DINO's answer only the `count` queries that score best are left."""

    def cut(_module: Any, _given: Any, said: Any) -> Any:
        scores = "pred_logits" if "pred_logits" in said else "logits"
        best = said[scores].amax(dim=-1).topk(count).indices[..., None]
        for name in (scores, "pred_boxes"):
            said[name] = said[name].gather(1, best.expand(-1, -1, said[name].shape[-1]))
        return said

    network.register_forward_hook(cut)


def baseline(args: argparse.Namespace, home: Path | None, watch: Watch) -> Any:
    """`GroundedSAM` as its package makes it, from that home folder or one's own."""
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
    watch.follow(detector=network, encoder=sam.image_encoder, decoder=sam.mask_decoder)
    if home is not None:
        keep_best(network, args.boxes // len(args.prompt))
    return base


def ours(args: argparse.Namespace, way: str, model: str, segmenter_model: str, watch: Watch) -> Any:
    """`grounded-sam-hf` in that way."""
    from autodistill_rfdetr_seg.bases import create_base
    from autodistill_rfdetr_seg.core.types import Classes

    mode, segmenter = WAYS[way]
    thresholds = {} if args.model else {"box_threshold": 0.0, "text_threshold": 0.0}
    options = {"model": model, "segmenter": segmenter, "segmenter_model": segmenter_model, "mode": mode}
    options |= {"device": args.device, "dtype": args.dtype}
    base = create_base("grounded-sam-hf", Classes.from_ontology({p: p for p in args.prompt}), {**options, **thresholds})
    network, sam = base.detector._network, base.segmenter._model
    watch.follow(detector=network, encoder=sam.vision_encoder, decoder=sam.mask_decoder)
    if not args.model:
        keep_best(network, args.boxes // len(base.detector._captions))
    return base


def measure(
    way: str, base: Any, images: Sequence[Any], args: argparse.Namespace, watch: Watch
) -> tuple[Row, list[Any]]:
    """Seconds an image, and the answers."""
    batch = base.preferred_batch if hasattr(base, "preferred_batch") else 1

    def predict(some: Sequence[Any]) -> list[Any]:
        if hasattr(base, "predict_batch"):
            return list(base.predict_batch(some))
        return [base.predict(image) for image in some]

    if args.device == "cuda":
        # Other pixels: the features of an image are kept.
        predict([image[::-1].copy() for image in images[:batch]])
    watch.spent.clear()
    started, clock = time.perf_counter(), watch.now()
    answers = [answer for at in range(0, len(images), batch) for answer in predict(images[at : at + batch])]
    count = len(images)
    seconds, wall = (watch.now() - clock) / count, (time.perf_counter() - started) / count
    for image, answer in zip(images, answers, strict=True):
        if len(answer) and answer.mask.shape != (len(answer), *image.shape[:2]):
            raise SystemExit(f"{way}: masks {answer.mask.shape} for {len(answer)} boxes")
    parts = {name: watch.spent.get(name, 0.0) / count for name in ("detector", "encoder", "decoder")}
    boxes = sum(map(len, answers)) / count
    return Row(way, len(args.prompt), count, boxes, seconds, wall, **parts), answers


def pictures(args: argparse.Namespace, folder: Path) -> list[Any]:
    """BGR arrays: the user's, or drawn ones, no two alike."""
    from autodistill_rfdetr_seg.images.image_opening import open_rgb

    if args.images is None:
        width, height = (int(part) for part in args.size.split("x"))
        per_batch = 8 if args.device == "cuda" else 1
        make_images(folder, max(args.repeat * per_batch, args.repeat_baseline), [(width, height)])
    suffixes = (".jpg", ".jpeg", ".png")
    paths = sorted(path for path in (args.images or folder).iterdir() if path.suffix.lower() in suffixes)
    return [np.ascontiguousarray(open_rgb(path)[:, :, ::-1]) for path in paths]


def built(args: argparse.Namespace, work: Path) -> Iterator[tuple[str, Callable[[Watch], Any]]]:
    """Each way to measure and what makes its base; random weights are made when the first needs them."""
    wanted = [way for way in (BASELINE, *WAYS) if not args.way or way in args.way]
    places = {"sam": args.sam_model, "sam2": args.segmenter_model}
    model = args.model
    if not args.model:
        model = str(random_weights.save_dino(work / "dino", args.prompt))
        places["sam"] = str(random_weights.save_sam(work / "sam", args.sam))
        places["sam2"] = str(random_weights.save_sam2(work / "sam2", args.sam2))
    for way in wanted:
        if way == BASELINE:
            home = None
            if not args.model:
                home = random_weights.save_home(work / "home", args.prompt, Path(places["sam"]), args.sam)
            yield way, lambda watch, home=home: baseline(args, home, watch)
        elif (place := places[WAYS[way][1]]) is not None:
            yield way, lambda watch, way=way, place=place: ours(args, way, model, place, watch)


def main() -> None:
    """Prints the table."""
    args = arguments()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    if args.device == "cpu":
        # The baseline takes a GPU where there is one.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import cv2
    import torch

    import autodistill_rfdetr_seg  # noqa: F401 - mends groundingdino

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    rows: list[Row] = []
    answers: dict[str, list[Any]] = {}
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as work:
        images = pictures(args, Path(work) / "images")
        for way, make in built(args, Path(work)):
            watch = Watch(args.device == "cuda")
            base = make(watch)
            some = images[: args.repeat_baseline] if way == BASELINE else images
            row, answers[way] = measure(way, base, some, args, watch)
            against = rows[0].seconds if rows and rows[0].way == BASELINE else None
            rows.append(dataclasses.replace(row, ratio=against and against / row.seconds))
            print(f"{way}: {row.seconds:.1f} s an image", file=sys.stderr)
            load.append(os.getloadavg()[0])
            del base
            gc.collect()
            if args.device == "cuda":
                torch.cuda.empty_cache()
    report(args, rows, agreements(answers), load)


def agreements(answers: dict[str, list[Any]]) -> dict[str, float]:
    """The mean agreement of an image, of joint with exact captions and of exact ones with the baseline."""
    first = {WAYS[way][0] if way in WAYS else way: found for way, found in reversed(answers.items())}
    return {
        f"{one} and {other}": float(np.mean([agreement(a, b) for a, b in zip(first[one], first[other], strict=False)]))
        for one, other in itertools.pairwise(("joint", "exact", BASELINE))
        if one in first and other in first
    }


def report(args: argparse.Namespace, rows: Sequence[Row], agreed: dict[str, float], load: Sequence[float]) -> None:
    """Prints what was measured."""
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
        print(f"each pass cut to its best {args.boxes} / passes queries: random weights find nothing sensible")
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
    for pair, share in agreed.items():
        print(f"{pair} agree on {share:.0%} of boxes{'' if args.model else ' (random weights: it says nothing)'}")


def arguments() -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prompt", action="append", help="repeatable; each is a class of its own")
    parser.add_argument("--boxes", type=int, default=20, help="boxes an image, with random weights")
    parser.add_argument("--sam", choices=random_weights.SAMS, default="vit_b", help="of the baseline, random weights")
    parser.add_argument("--sam2", choices=random_weights.SAM2S, default="base-plus", help="random weights")
    parser.add_argument("--size", default="640x480", help="of drawn images, WxH")
    parser.add_argument("--repeat", type=int, default=1, help="drawn images; on a GPU batches of 8")
    parser.add_argument("--repeat-baseline", type=int, default=1, help="images for the baseline")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", default="auto", help="of grounded-sam-hf")
    parser.add_argument("--way", action="append", choices=(BASELINE, *WAYS), help="repeatable; all unless given")
    parser.add_argument("--images", type=Path, help="a folder of images instead of drawn ones")
    parser.add_argument("--model", help="Grounding DINO's weights: folder or model id; then none are random")
    parser.add_argument("--segmenter-model", help="SAM 2's, likewise")
    parser.add_argument("--sam-model", help="SAM's, likewise")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.prompt = args.prompt or list(PROMPTS)
    if not args.model and args.boxes % len(args.prompt):
        parser.error("--boxes must be a multiple of the number of prompts")
    return args


if __name__ == "__main__":
    main()
