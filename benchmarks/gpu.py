"""Measures one GPU in under 6 minutes, with random weights of the published sizes: nothing is downloaded.

    python benchmarks/gpu.py [--sizes nano medium] [--device cuda] [--quick] [--seconds 330]

Prints one table:

- For each size, torch in fp16 and, where it is installed, TensorRT in fp16, on images of 640x480 and 1920x1080 with the
  20 best instances: milliseconds of the input, the engine, the dense masks and all of it, and peak memory.
- Labeling by `grounded-sam-hf` in batches against `autodistill_grounded_sam` (`benchmarks/bases.py`).
- For each training preset that fits the card, one training step: its milliseconds, and its peak memory against what
  preflight forecasts for it.

Parts for which no time is left are named as not run. With `--quick` and `--device cpu` the sizes are tiny and torch is
in fp32: that only shows that the script runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_IMAGES = {"640x480": (480, 640), "1920x1080": (1080, 1920)}
_QUICK = {"resolution": 96, "patch_size": 12, "out_feature_indexes": [1, 2], "num_queries": 30, "num_select": 30}
_INSTANCES = 20


@dataclass(frozen=True)
class Line:
    """A line of the table: what was measured, and the figures."""

    what: str
    figures: str


def save_random(size: str, folder: Path, options: dict[str, Any]) -> Path:
    """A checkpoint of random weights."""
    import torch

    from autodistill_rfdetr_seg.targets import vendor

    detector = vendor.build(size, {"pretrain_weights": None, "num_classes": 3, "device": "cpu", **options})
    content = {
        "model": detector.model.model.state_dict(),
        "args": {"class_names": ["a", "b", "c"]},
        "model_name": type(detector).__name__,
        "model_config": detector.model_config.model_dump(),
    }
    folder.mkdir(parents=True)
    torch.save(content, folder / "checkpoint.pth")
    return folder / "checkpoint.pth"


def models(checkpoint: Path, device: str, folder: Path) -> Iterator[tuple[str, Any]]:
    """Each form of the model that this machine can run, opened."""
    from autodistill_rfdetr_seg.targets.export.export_format import ExportRequest
    from autodistill_rfdetr_seg.targets.export.known_formats import find_format
    from autodistill_rfdetr_seg.targets.export.vendor_export import write
    from autodistill_rfdetr_seg.targets.inference.model_artifacts import NetworkModel
    from autodistill_rfdetr_seg.targets.inference.optimized_torch import OptimizedModel

    precision = "fp32" if device == "cpu" else "fp16"
    torch_model = OptimizedModel(checkpoint, "torch", precision, 1, device)
    yield f"torch {precision}", torch_model
    form = find_format("onnx" if device == "cpu" else "tensorrt")
    if form.missing_module(precision) is not None:
        yield f"{form.name} {precision}", None
        return
    # The comparison with torch is left out: random weights have many instances with all but equal scores.
    plain = OptimizedModel(checkpoint, "torch", "fp32", 1, device)
    path = write(form, plain.detector, folder, ExportRequest(precision, plain.input_size))
    assert form.open_session is not None
    session = form.open_session(path, precision, device)

    class Written(NetworkModel):
        def __init__(self) -> None:
            self.spec = {**plain.spec, "batch_size": 1}

        def run_network(self, batch: Any) -> Any:
            return session(batch)

    yield f"{form.name} {precision}", Written()


def inference(size: str, device: str, options: dict[str, Any]) -> Iterator[Line]:
    """A line for each form and image size."""
    import torch

    random = np.random.default_rng(0)
    runs = 5 if device == "cpu" else 50
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_random(size, Path(folder) / "model", options)
        for name, model in models(checkpoint, device, Path(folder)):
            if model is None:
                yield Line(f"{size} {name}", "not run: its package is not installed")
                continue
            for image_name, shape in _IMAGES.items():
                image = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
                scores = model.predict_batch([image], 0.0)[0].confidence
                least = float(np.sort(scores)[::-1][min(_INSTANCES, len(scores) - 1)])
                if device != "cpu":
                    torch.cuda.reset_peak_memory_stats()
                times: list[tuple[float, ...]] = []
                for number in range(runs + 3):
                    (found,), stages = model.predict_timed([image], least)
                    started = time.perf_counter()
                    count = len(found.mask)
                    masks = stages.selection + time.perf_counter() - started
                    if number >= 3:
                        times.append((stages.input, stages.engine, masks, stages.input + stages.engine + masks))
                medians = [statistics.median(column) * 1000 for column in zip(*times, strict=True)]
                memory = "" if device == "cpu" else f", {torch.cuda.max_memory_allocated() / 1e6:.0f} MB"
                text = ", ".join(
                    f"{what} {ms:.1f}" for what, ms in zip(("input", "engine", "masks", "total"), medians, strict=True)
                )
                yield Line(f"{size} {name}, {image_name}, {count} instances", f"{text} ms{memory}")


def labeling(device: str, quick: bool, seconds: float) -> Iterator[Line]:
    """A line for each way of labeling."""
    command = [sys.executable, str(Path(__file__).with_name("bases.py")), "--json", "--device", device]
    if quick:
        command += ["--way", "joint + SAM 2", "--sam2", "tiny", "--size", "320x240", "--boxes", "5"]
        command += ["--prompt", "a cat"]
    else:
        command += ["--way", "autodistill_grounded_sam", "--way", "joint + same SAM", "--way", "joint + SAM 2"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True)
    except subprocess.TimeoutExpired:
        yield Line("labeling", f"not run: it takes more than the {seconds:.0f} s that are left")
        return
    except subprocess.CalledProcessError as error:
        yield Line("labeling", f"failed: {error.stderr.strip().splitlines()[-1]}")
        return
    found = json.loads(done.stdout)
    for row in found["rows"]:
        ratio = f", {row['ratio']:.1f}x the baseline's speed" if row["ratio"] else ""
        yield Line(f"labeling, {row['way']}, {row['prompts']} prompts", f"{row['wall']:.2f} s an image{ratio}")


def training(size: str, device: str, options: dict[str, Any], until: float) -> Iterator[Line]:
    """A line for each preset: a step in a process of its own, and its memory against the forecast."""
    import torch

    from autodistill_rfdetr_seg.targets.training import memory_estimate as memory

    shape = memory.ModelShape.from_options(size, options)
    card = torch.cuda.get_device_properties(0).total_memory / 1e9 if device != "cpu" else 0
    presets = [gb for gb in memory.PRESET_GB if gb <= card * 1.1] if card else [0]
    for gb in presets:
        name = f"training, {size}, preset {gb}gb" if gb else f"training, {size}, one image"
        if time.monotonic() > until:
            yield Line(name, "not run: no time is left")
            continue
        batch = memory.preset_batch(size, gb) if gb else 1  # type: ignore[arg-type]
        instances = memory.PRESET_INSTANCES
        side = shape.largest_resolution(True, True) if gb else shape.resolution
        job = {"size": size, "resolution": side, "batch": batch, "instances": instances, "image": 0}
        job |= {"phase": "training", "model": {k: v for k, v in options.items() if k != "resolution"}}
        job |= {"device": device, "amp": device != "cpu"}
        script = str(Path(__file__).with_name("training_memory.py"))
        started = time.monotonic()
        done = subprocess.run([sys.executable, script, "--job", json.dumps(job)], capture_output=True, text=True)
        if done.returncode:
            yield Line(name, f"failed: {done.stderr.strip().splitlines()[-1]}")
            continue
        found = int(done.stdout.split()[-1])
        need = memory.training_bytes(shape, batch, batch * instances, amp=device != "cpu", ema=False, resolution=side)
        yield Line(
            f"{name}, {batch} x {side} px",
            f"{found / 1e9:.2f} GB, forecast {need / 1e9:.2f} GB ({need / found:.2f}x); "
            f"{time.monotonic() - started:.0f} s with start and two steps",
        )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["nano", "medium"])
    parser.add_argument("--device", default="cuda", help="cuda or cpu (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny models and images")
    parser.add_argument("--seconds", type=float, default=330, help="time for all of it (default: %(default)s)")
    args = parser.parse_args()
    import torch

    if args.device != "cpu" and not torch.cuda.is_available():
        sys.exit("There is no CUDA device here. Try --device cpu --quick, which only shows that the script runs.")
    began = time.monotonic()
    until = began + args.seconds
    options: dict[str, Any] = dict(_QUICK) if args.quick else {}
    card = torch.cuda.get_device_name() if args.device != "cpu" else "CPU, which is not what this script is for"
    print(f"{card}; torch {torch.__version__}; random weights\n\n| what | result |\n|---|---|", flush=True)
    lines = [
        *(lambda size=size: inference(size, args.device, options) for size in args.sizes),
        *(lambda size=size: training(size, args.device, options, until) for size in args.sizes),
        lambda: labeling(args.device, args.quick, max(until - time.monotonic(), 1)),
    ]
    for part in lines:
        for line in part():
            print(f"| {line.what} | {line.figures} |", flush=True)
    print(f"\n{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
