"""Estimates how much memory and disk training takes, and which batch size fits a GPU's memory.

The estimate adds up the tensors that RF-DETR Seg keeps for its backward pass, by kind; how many there are of a kind was
fitted to the peak of real fp32 steps on a CPU (`benchmarks/training_memory.py`).
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

# Published, in millions.
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
# Tensors kept for the backward pass: for each token and encoder layer, mask cell and decoder layer, query and decoder
# layer, matched mask and output.
_PER_TOKEN, _PER_CELL, _PER_QUERY, _PER_MATCH = 44.0, 2.3, 62.0, 2.2
_MATCH_COSTS = 6
_MASKS_AT_ONCE = 32  # masks that rfdetr enlarges to the image's size at once
# Activations under mixed precision compared with fp32 (norms, softmax and losses stay fp32); bytes for CUDA itself.
_MIXED = 0.6
_CUDA = 1.0 * GB
_FRAGMENTED = 1.1


@dataclass(frozen=True)
class ModelShape:
    """The part of a model's configuration that decides its memory; `resolution` is in pixels."""

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
    def from_options(cls, size: str, options: Mapping[str, Any]) -> ModelShape:
        """The shape of a size with rfdetr's model options. Imports rfdetr; raises as `vendor.model_config`."""
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
        """The largest side of rfdetr's random scales, in pixels."""
        step = self.patch * self.windows
        return self.resolution // step * step + (step * (5 if expanded else 4) if multi_scale else 0)


def training_bytes(
    shape: ModelShape, batch: int, instances: int, *, amp: bool, ema: bool, resolution: int | None = None
) -> int:
    """Bytes at the peak of a step of `batch` images with `instances` in all of them, at `resolution` pixels.

    They are: parameters, AdamW's two moments and the EMA's copy; for each image the activations of encoder, mask head
    and queries; for each instance its target at the input's size, and its mask for each group of queries and each
    output; the matcher's costs, for every query of the batch with every instance of the batch.
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
    return int(_state_bytes(shape, ema, 3) + activations + costs + 5 * instances * side**2)


def validation_bytes(
    shape: ModelShape,
    batch: int,
    sizes: Sequence[tuple[int, int]],
    *,
    amp: bool,
    ema: bool,
    gpu: bool,
    optimizer: bool = True,
) -> int:
    """Bytes at the peak of validating images of these (height, width), at most `batch` of them at once.

    Every selected query's mask is enlarged to its image's size, one byte a pixel, and kept for all images of the batch;
    on a GPU rfdetr holds up to 128 masks of one image twice while it joins them. For large photos this takes more than
    the forward pass.
    """
    side = shape.resolution
    pixels = sorted((height * width for height, width in sizes), reverse=True)[:batch]
    joined = pixels[0] if pixels and gpu and shape.selected <= 4 * _MASKS_AT_ONCE else 0
    masks = shape.selected * (sum(pixels) + joined)
    enlarged = 5 * min(_MASKS_AT_ONCE, shape.selected) * (pixels[0] if pixels else 0)
    cells = (side // _MASK_STRIDE) ** 2
    forward = 4 * batch * cells * (shape.queries * (shape.decoder_layers + 1) + 4 * _WIDTH) * (_MIXED if amp else 1.0)
    return int(_state_bytes(shape, ema, 3 if optimizer else 1) + forward + masks + enlarged)


def gpu_bytes(estimate: int) -> int:
    """An estimate with the memory of CUDA and its allocator added."""
    return int(estimate * _FRAGMENTED + _CUDA)


def checkpoint_bytes(shape: ModelShape, *, ema: bool, archives: int = 0) -> int:
    """Bytes on disk at most: two `last.ckpt` (weights, moments, average) while one replaces the other, and the best
    checkpoints.

    Each of `archives` (rfdetr's `checkpoint_interval`) is a `last.ckpt` that is kept.
    """
    weights = 4 * shape.parameters
    return int((2 + archives) * weights * (3 + ema) + weights * (2 + ema))


def _state_bytes(shape: ModelShape, ema: bool, copies: int) -> float:
    return 4 * shape.parameters * (copies + ema)


# The batch size for each of `PRESET_GB`: the largest power of two that the estimate allows, at the largest of rfdetr's
# random scales, in mixed precision with EMA. `tests/targets/test_preflight.py` compares it with the estimate.
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
    """The batch size of the largest preset that fits `gb`; a GPU sold as 8 GB may report a little less.

    With rfdetr's options of the model, which may change its shape, it is what the estimate allows.
    """
    fitting = [at for at, named in enumerate(PRESET_GB) if named <= gb * 1.1]
    if not fitting:
        return 1
    return (
        fitting_batch(ModelShape.from_options(size, model), PRESET_GB[fitting[-1]])
        if model
        else PRESETS[size][fitting[-1]]
    )


def fitting_batch(shape: ModelShape, gb: float, instances: int = PRESET_INSTANCES) -> int:
    """The largest power of two up to `EFFECTIVE_BATCH` that the estimate allows in `gb`; at least 1."""
    side = shape.largest_resolution(True, True)

    def fits(batch: int) -> bool:
        need = training_bytes(shape, batch, batch * instances, amp=True, ema=True, resolution=side)
        return gpu_bytes(need) <= gb * GB

    return max((batch for batch in (1, 2, 4, 8, EFFECTIVE_BATCH) if fits(batch)), default=1)


def choose_batch(
    preset: Preset, size: Size, devices: int, gb: float | None, model: Mapping[str, Any] | None = None
) -> tuple[int, int] | None:
    """(batch size, accumulated steps) for an effective batch of 16, or the next above; None for auto without a GPU.

    `gb` is the memory of the GPU, None without one; `model` are rfdetr's options of the model.
    """
    if preset == "auto" and gb is None:
        return None
    memory = gb or 0.0 if preset == "auto" else float(preset.removesuffix("gb"))
    batch = min(preset_batch(size, memory, model), max(1, EFFECTIVE_BATCH // devices))
    return batch, -(-EFFECTIVE_BATCH // (batch * devices))
