"""A bundle: an ONNX export with everything to run it, and to check that it runs right, without this package."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.artifact_config import ParityConfig
from ...core.plain_text import short_list
from ...images.rgb_image import write_png
from ...runtime import bundle_command
from ...system.files import write_json, write_text
from .export_parity import ExpectedImage, Samples

# Images to check the model with. Each is a PNG of a photo; more would add size and little certainty.
_GOLDEN = 3

_README = """# {architecture}

An instance-segmentation model of {count} classes ({classes}), with everything to run it without torch.

    pip install -r requirements.txt
    python run.py photo.jpg --confidence 0.5
    python run.py --check

`--confidence best` uses the values in `model.json` that the model's evaluation found, `--confidence NAME=0.4` one for a
class; `--tiles 640` cuts a large image into tiles. Duplicates of better instances are removed.

The first prints the instances of an image as JSON: class, score, box, and a mask at the image's size as COCO's
uncompressed RLE. The second finds the instances of the images in `golden/`, each in every place of a batch, and
compares them with what the trained model found in PyTorch; its exit code is 1 where a class, a score (by more than
{score_difference:g}) or a mask (mean IoU under {mask_iou:g}) differs. In Python: `from run import Model`, then
`Model().predict([pixels], 0.5)[0]`, pixels being (H, W, 3) uint8 RGB; `Model(["CUDAExecutionProvider"])`
runs on a GPU with onnxruntime-gpu.

| file | is |
|---|---|
| `model.onnx` | `input` ({batch_size}, 3, {input_size}, {input_size}) float32 → `dets`, `labels`, `masks` |
| `model.json` | classes, input size, mean and standard deviation, how to resize, how many instances are selected |
| `run.py` | the two commands above |
| `{runtime}/` | the steps before and after the model, in numpy; read them to do the same in another language |
| `export.json` | what made this, and how well it agrees with PyTorch |
| `LICENSE.md` | the licenses of the code and the model |
"""

# What a bundle has instead of this package: the name must not be that of another package.
RUNTIME = "seg_runtime"

_RUN = f'''"""Finds instances in an image, or checks the model: see README.md."""

import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from {RUNTIME} import bundle_command  # noqa: E402


class Model(bundle_command.Model):
    """The model beside this file, in onnxruntime."""

    def __init__(self, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        super().__init__(HERE, providers)


if __name__ == "__main__":
    try:
        sys.exit(bundle_command.main(HERE))
    except bundle_command.ERRORS as error:  # the file is missing, or not an image
        sys.exit(f"Error: {{error}}")
'''

_LICENSE = """`run.py` and `{runtime}/` are part of autodistill-rfdetr-seg, under the Apache License 2.0.

The model's architecture and the weights it was trained from are RF-DETR's ({architecture}), under its license:
{license}. What it learned comes from the images and labels it was trained on; their terms are not known here.
"""


def write_bundle(
    folder: Path, model: Mapping[str, Any], expected: Sequence[ExpectedImage], samples: Samples, bounds: ParityConfig
) -> None:
    """Adds to an export's folder the runner and its settings, golden images with the instances that torch finds in
    them, a README and the licenses.

    `model` is what a runner must know, `expected` what torch finds in the samples.
    """
    write_json(folder / "model.json", model)
    runtime = folder / RUNTIME
    runtime.mkdir()
    for file in sorted(Path(bundle_command.__file__).parent.glob("*.py")):
        shutil.copyfile(file, runtime / file.name)
    write_text(folder / "run.py", _RUN)
    write_text(folder / "requirements.txt", "numpy>=1.26\nonnxruntime>=1.18\npillow>=10.3\n")
    classes = short_list(model["class_names"], 10)
    words = {**model, **bounds.model_dump(), "runtime": RUNTIME, "count": len(model["class_names"]), "classes": classes}
    write_text(folder / "README.md", _README.format(**words))
    write_text(folder / "LICENSE.md", _LICENSE.format(**words))
    # Images with instances first: they check more.
    chosen = sorted(expected, key=lambda one: not one.instances)[:_GOLDEN]
    golden = folder / "golden"
    golden.mkdir()
    images = dict(samples.images)
    confidences: dict[str, float] = {}
    for number, one in enumerate(chosen):
        name = f"{number}.png"
        write_png(golden / name, images[one.name])
        fields: dict[str, Any] = {
            field: np.array([getattr(instance, field) for instance in one.instances])
            for field in bundle_command.GOLDEN_FIELDS
        }
        np.savez_compressed(golden / f"{name}.npz", **fields)
        confidences[name] = one.confidence
    tolerances = {"mask_iou": bounds.mask_iou, "score_difference": bounds.score_difference}
    write_json(golden / "expected.json", {**tolerances, "images": confidences})
