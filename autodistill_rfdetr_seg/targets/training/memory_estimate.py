"""How much memory and disk training takes, estimated; and the batch sizes that follow for a GPU's memory.

The estimate is a sum of what RF-DETR Seg keeps for its backward pass, counted from its architecture in tensors of a
kind; how many of each was fitted to the peak of real fp32 steps on a CPU (`benchmarks/training_memory.py`).
No GPU was available: mixed precision, CUDA's own memory and fragmentation are allowances, not measurements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.config import Preset, Size

GB = 10**9
EFFECTIVE_BATCH = 16
# Instances of each image that the presets are made for.
PRESET_INSTANCES = 30

# Published, in millions of parameters; the model that is built is asked only where it is there already.
PARAMETERS = {
    "preview": 33.6,
    "nano": 33.6,
    "small": 33.7,
    "medium": 35.7,
    "large": 36.2,
    "xlarge": 38.1,
    "2xlarge": 38.6,
}
_ENCODER_LAYERS, _ENCODER_WIDTH = 12, 384
_WIDTH = 256
_MASK_STRIDE = 4  # pixels of a mask cell
# Tensors kept for the backward pass: a token and encoder layer, a mask cell and decoder layer, a query and decoder
# layer, a matched mask and output.
_PER_TOKEN, _PER_CELL, _PER_QUERY, _PER_MATCH = 44.0, 2.3, 62.0, 2.2
_MATCH_COSTS = 6
_MASKS_AT_ONCE = 32  # that rfdetr enlarges to the image's size in one go
# Of fp32's activations under mixed precision (norms, softmax and losses stay fp32), and what CUDA itself takes.
_MIXED = 0.6
_CUDA = 1.0 * GB
_FRAGMENTED = 1.1


@dataclass(frozen=True)
class Shape:
    """What of a model decides its memory; `resolution` in pixels, `parameters` a number."""

    parameters: float
    resolution: int
    patch: int
    windows: int
    layers: int
    decoder_layers: int
    queries: int
    selected: int
    groups: int

    @classmethod
    def of(cls, size: str, options: Mapping[str, Any]) -> Shape:
        """That of a size with rfdetr's model options. Imports rfdetr; raises as `vendor.model_config`."""
        from .. import vendor

        config = vendor.model_config(size, options)
        layers = min(_ENCODER_LAYERS, max(config.out_feature_indexes))
        return cls(
            PARAMETERS[size] * 1e6,
            config.resolution,
            config.patch_size,
            config.num_windows,
            layers,
            config.dec_layers,
            config.num_queries,
            config.num_select,
            config.group_detr,
        )

    def largest_resolution(self, multi_scale: bool, expanded: bool) -> int:
        """The side that rfdetr's random scales go up to."""
        step = self.patch * self.windows
        return self.resolution // step * step + (step * (5 if expanded else 4) if multi_scale else 0)


def training(shape: Shape, batch: int, instances: int, *, amp: bool, ema: bool, resolution: int | None = None) -> int:
    """Bytes at the peak of a step of `batch` images with `instances` in all of them, at `resolution` pixels.

    Parameters, AdamW's two moments and the EMA's copy; per image what encoder, mask head and queries keep; per instance
    its target at the input's size, and its mask for each group of queries and each output; the matcher's costs, which
    are of every query of the batch with every instance of the batch.
    """
    side = resolution or shape.resolution
    tokens, cells = (side // shape.patch) ** 2, (side // _MASK_STRIDE) ** 2
    queries = shape.queries * shape.groups
    image = 4 * (
        _PER_TOKEN * tokens * _ENCODER_WIDTH * shape.layers
        + _PER_CELL * cells * _WIDTH * shape.decoder_layers
        + _PER_QUERY * queries * _WIDTH * shape.decoder_layers
    )
    matched = 4 * _PER_MATCH * min(instances, batch * shape.queries) * shape.groups * cells * (shape.decoder_layers + 1)
    costs = 4 * _MATCH_COSTS * batch * queries * instances
    activations = (batch * image + matched) * (_MIXED if amp else 1.0)
    return int(_states(shape, ema, 3) + activations + costs + 5 * instances * side**2)


def validation(
    shape: Shape,
    batch: int,
    sizes: Sequence[tuple[int, int]],
    *,
    amp: bool,
    ema: bool,
    gpu: bool,
    optimizer: bool = True,
) -> int:
    """Bytes at the peak of validating images of these (height, width), at most `batch` of them together.

    Every selected query's mask is enlarged to its image's size, one byte a pixel, and kept for all images of the batch;
    on a GPU rfdetr holds up to 128 of one image twice while it joins them. That, not the forward pass, is what large
    photos cost.
    """
    side = shape.resolution
    pixels = sorted((height * width for height, width in sizes), reverse=True)[:batch]
    joined = pixels[0] if pixels and gpu and shape.selected <= 4 * _MASKS_AT_ONCE else 0
    masks = shape.selected * (sum(pixels) + joined)
    enlarged = 5 * min(_MASKS_AT_ONCE, shape.selected) * (pixels[0] if pixels else 0)
    cells = (side // _MASK_STRIDE) ** 2
    forward = 4 * batch * cells * (shape.queries * (shape.decoder_layers + 1) + 4 * _WIDTH) * (_MIXED if amp else 1.0)
    return int(_states(shape, ema, 3 if optimizer else 1) + forward + masks + enlarged)


def on_gpu(estimate: int) -> int:
    """The same with what CUDA and its allocator take on top."""
    return int(estimate * _FRAGMENTED + _CUDA)


def decoding(image: tuple[int, int], instances: int) -> int:
    """Bytes of main memory that rfdetr's reader takes for one image's masks: each one at the image's size."""
    return image[0] * image[1] * instances


def checkpoints(shape: Shape, *, ema: bool, archives: int = 0) -> int:
    """Bytes on disk at most: `last.ckpt` (weights, moments, average) while its next is written, and the best ones.

    Each of `archives` (rfdetr's `checkpoint_interval`) is a `last.ckpt` that is kept.
    """
    weights = 4 * shape.parameters
    return int((2 + archives) * weights * (3 + ema) + weights * (2 + ema))


def _states(shape: Shape, ema: bool, copies: int) -> float:
    return 4 * shape.parameters * (copies + ema)


# (batch size for each of `PRESET_GB`): the largest power of two that the estimate allows, at the largest of rfdetr's
# random scales, in mixed precision with EMA. `tests/targets/test_preflight.py` holds it against the estimate.
PRESET_GB = (8, 16, 24, 40, 80)
PRESETS: dict[Size, tuple[int, ...]] = {
    "preview": (2, 4, 8, 16, 16),
    "nano": (4, 8, 16, 16, 16),
    "small": (4, 8, 8, 16, 16),
    "medium": (2, 4, 8, 16, 16),
    "large": (2, 4, 8, 8, 16),
    "xlarge": (1, 2, 4, 8, 16),
    "2xlarge": (1, 2, 4, 4, 8),
}


def preset_batch(size: Size, gb: float, model: Mapping[str, Any] | None = None) -> int:
    """The batch size of the largest preset that `gb` has; a GPU called 8 GB may show a little less.

    With rfdetr's options of the model, which may give it another shape, it is what the estimate allows there.
    """
    fitting = [at for at, named in enumerate(PRESET_GB) if named <= gb * 1.1]
    if not fitting:
        return 1
    return fitting_batch(Shape.of(size, model), PRESET_GB[fitting[-1]]) if model else PRESETS[size][fitting[-1]]


def fitting_batch(shape: Shape, gb: float, instances: int = PRESET_INSTANCES) -> int:
    """The largest power of two up to `EFFECTIVE_BATCH` that the estimate allows in `gb`; 1 where none does."""
    side = shape.largest_resolution(True, True)

    def fits(batch: int) -> bool:
        need = training(shape, batch, batch * instances, amp=True, ema=True, resolution=side)
        return on_gpu(need) <= gb * GB

    return max((batch for batch in (1, 2, 4, 8, EFFECTIVE_BATCH) if fits(batch)), default=1)


def choose(
    preset: Preset, size: Size, devices: int, gb: float | None, model: Mapping[str, Any] | None = None
) -> tuple[int, int] | None:
    """(batch size, accumulated steps) for an effective batch of 16 or next over it; None for auto without a GPU.

    `gb` is the memory of the GPU that is there, `model` rfdetr's options of the model.
    """
    if preset == "auto" and gb is None:
        return None
    there = gb or 0.0 if preset == "auto" else float(preset.removesuffix("gb"))
    batch = min(preset_batch(size, there, model), max(1, EFFECTIVE_BATCH // devices))
    return batch, -(-EFFECTIVE_BATCH // (batch * devices))
