"""Measures the memory of one training step or validation batch on a CPU, against `memory_estimate`.

    python benchmarks/training_memory.py [--size nano] [--resolution 312] [--batch 1 2] [--instances 1 50]

Each measurement runs in its own process: forward, loss, backward and AdamW step of the rfdetr model of that size from
scratch in fp32; or, with --phase validation --image 1024, forward and masks at the size of the images. The peak is the
largest resident memory of the process, minus the memory with rfdetr imported and before the model was built. Prints
measured and estimated GB, and their ratio.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def resident() -> int:
    """Resident bytes of this process now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def peak() -> int:
    """Peak resident bytes of this process since the last reset."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def measure(job: dict[str, Any]) -> int:
    """Bytes that one step needs in addition to an idle process; with `device` "cuda", bytes of the GPU's allocator, in
    mixed precision if `amp` is set."""
    import torch

    from autodistill_rfdetr_seg.targets import vendor
    from autodistill_rfdetr_seg.targets.rfdetr_import import import_rfdetr

    probe = import_rfdetr("rfdetr.training.auto_batch")
    models = import_rfdetr("rfdetr.models")
    config = vendor.train_config({"dataset_dir": ".", "multi_scale": False})
    before = resident()
    options = {"pretrain_weights": None, "resolution": job["resolution"], **job["model"]}
    device = job.get("device", "cpu")
    options["device"] = device
    detector = vendor.build(job["size"], options)
    model = detector.model.model.to(device)
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    samples, targets = probe._make_synthetic_batch(
        job["batch"], job["resolution"], torch.device(device), 3, True, job["instances"]
    )
    if job["phase"] == "validation":
        model.eval()
        with torch.no_grad():
            outputs = model(samples)
            sizes = torch.tensor([[job["image"], job["image"]]] * job["batch"])
            detector.model.postprocess(outputs, sizes)
        return peak() - before
    criterion, _ = models.build_criterion_from_config(detector.model_config, config)
    model.train(), criterion.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for _ in range(2):
        with torch.autocast("cuda" if on_gpu else "cpu", enabled=on_gpu and bool(job.get("amp"))):
            losses = criterion(model(samples, targets), targets)
        sum(losses[key] * criterion.weight_dict[key] for key in losses if key in criterion.weight_dict).backward()
        optimizer.step()
        optimizer.zero_grad()
    return int(torch.cuda.max_memory_allocated()) if on_gpu else peak() - before


def main() -> None:
    """Measures each combination and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="nano")
    parser.add_argument("--resolution", type=int, nargs="*", default=[312])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--instances", type=int, nargs="*", default=[1, 50])
    parser.add_argument("--image", type=int, nargs="*", default=[1024])
    parser.add_argument("--phase", choices=["training", "validation"], default="training")
    parser.add_argument("--model", type=json.loads, default={}, help="model options, JSON")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        print(measure(args.job))
        return
    from autodistill_rfdetr_seg.targets.training import memory_estimate as memory

    print("phase       px  batch  instances  image  measured  estimated  ratio")
    others = args.instances if args.phase == "training" else args.image
    for resolution, batch, other in itertools.product(args.resolution, args.batch, others):
        instances, image = (other, 0) if args.phase == "training" else (1, other)
        job = {"size": args.size, "resolution": resolution, "batch": batch, "instances": instances}
        job |= {"image": image, "phase": args.phase, "model": args.model}
        done = subprocess.run(
            [sys.executable, __file__, "--job", json.dumps(job)], capture_output=True, text=True, check=True
        )
        found = int(done.stdout.split()[-1])
        shape = memory.ModelShape.from_options(args.size, {"resolution": resolution, **args.model})
        if args.phase == "training":
            guess = memory.training_bytes(shape, batch, batch * instances, amp=False, ema=False)
        else:
            guess = memory.validation_bytes(
                shape, batch, [(image, image)] * batch, amp=False, ema=False, gpu=False, optimizer=False
            )
        print(
            f"{args.phase:<10} {resolution:>4} {batch:>5} {instances:>9} {image:>7} {found / 1e9:>9.2f} "
            f"{guess / 1e9:>9.2f} {guess / found:>7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
