"""What an ONNX export of a SAM takes and gives, read from the names and axes of its two files.

The forms that are known, from the exports that people use:

| encoder's input | what goes in |
|---|---|
| float (B, 3, S, S) | RGB less SAM's mean by its standard deviation, padded with 0 right and below |
| uint8 (B, 3, S, S) | RGB 0..255, padded: the graph has the rest |
| float or uint8 (H, W, 3) or (B, H, W, 3) | RGB 0..255, padded where H and W are numbers: the graph has the rest |

S is 1024 where it is free. A decoder takes `image_embeddings`, `point_coords` and `point_labels` (a box is two points,
labels 2 and 3), and where it has them `mask_input`, `has_mask_input` and `orig_im_size`; it gives `low_res_masks`, or
`masks`, and `iou_predictions`, or `scores`. Sources: segment-anything's `scripts/export_onnx_model.py` and
`utils/onnx.py`, EdgeSAM's `scripts/export_onnx_model.py`, samexporter's `export_encoder.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UsageError
from ...system.onnx_sessions import Port

# The side of the square that a SAM sees where its export leaves that free.
SIDE = 1024
_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
_NEEDED = ("image_embeddings", "point_coords", "point_labels")
_OPTIONAL = ("mask_input", "has_mask_input", "orig_im_size")
# A prompt of former masks that says nothing, where the file leaves the size of it free.
_NO_MASK = (1, 1, 256, 256)
_MASKS = ("low_res_masks", "masks")
_SCORES = ("iou_predictions", "scores")


@dataclass(frozen=True, slots=True)
class Encoder:
    """An image encoder's input: its `name`; `side` of the square that an image is scaled to; whether colors come first
    (`planar`), there is a `batch` axis, the image is `padded` to the square, and pixels are `normalized`; its dtype."""

    name: str
    side: int
    planar: bool
    batch: bool
    padded: bool
    normalized: bool
    dtype: str

    @classmethod
    def from_inputs(cls, path: Path, inputs: Sequence[Port], normalise: bool | None = None) -> Encoder:
        """The form of an encoder's inputs; `normalise` overrules what the table says of pixels.

        Raises:
            UsageError: it is none of the forms that are known; the inputs that were found are named.
        """
        if len(inputs) != 1:
            raise _refused(path, "an image encoder has one input", inputs)
        (port,) = inputs
        axes, batch = port.axes, len(port.axes) == 4
        inner = axes[1:] if batch else axes
        dtype = _TYPES.get(port.type)
        if dtype is None or len(inner) != 3 or (batch and isinstance(axes[0], int) and axes[0] != 1):
            raise _refused(path, "an image encoder takes one image, float or uint8", inputs)
        planar, last = inner[0] == 3, inner[2] == 3
        if planar == last:
            raise _refused(path, "one axis, the first or the last, must be 3 colors", inputs)
        sides = inner[1:] if planar else inner[:2]
        fixed = [side for side in sides if isinstance(side, int)]
        if len(set(fixed)) == 2 or len(fixed) == 1:
            raise _refused(path, "the sides must be equal numbers, or both free", inputs)
        by_layout = planar and dtype == "float32"
        normalized = by_layout if normalise is None else normalise
        if normalized and dtype != "float32":
            raise UsageError(f"{path} takes whole numbers ({port}), which cannot be normalized.", "Leave it out.")
        # A planar encoder with free sides was still traced at the square.
        padded = bool(fixed) or planar
        return cls(port.name, fixed[0] if fixed else SIDE, planar, batch, padded, normalized, dtype)


@dataclass(frozen=True, slots=True)
class Decoder:
    """A mask decoder: the optional inputs that it has, the shape of its `mask_input`, the names of the outputs with
    masks and with scores, and whether these masks are `low_res`, of the square that the encoder sees."""

    optional: tuple[str, ...]
    mask_input: tuple[int, ...]
    masks: str
    scores: str
    low_res: bool

    @classmethod
    def from_ports(cls, path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> Decoder:
        """The form of a decoder.

        Masks of low resolution are taken where there are any, and enlarged here. In graphs that were traced at one
        aspect ratio `masks` of others are cut wrongly (https://github.com/facebookresearch/segment-anything/issues/56).

        Raises:
            UsageError: it is none of the forms that are known; the inputs or outputs that were found are named.
        """
        names = [port.name for port in inputs]
        unknown = [name for name in names if name not in (*_NEEDED, *_OPTIONAL)]
        missing = [name for name in _NEEDED if name not in names]
        if unknown or missing:
            said = f"it lacks {missing[0]}" if missing else f"{unknown[0]} is not known"
            raise _refused(path, f"{said}; a decoder takes {', '.join(_NEEDED)}", inputs)
        given = [port.name for port in outputs]
        masks = next((name for name in _MASKS if name in given), None)
        scores = next((name for name in _SCORES if name in given), None)
        if masks is None or scores is None:
            wanted = f"{' or '.join(_MASKS)}, and {' or '.join(_SCORES)}"
            raise _refused(path, f"a decoder gives {wanted}", outputs, "outputs")
        optional = tuple(name for name in _OPTIONAL if name in names)
        shape = next((port.axes for port in inputs if port.name == "mask_input"), ())
        fixed = tuple(side if isinstance(side, int) else free for side, free in zip(shape, _NO_MASK, strict=False))
        return cls(optional, fixed, masks, scores, masks == "low_res_masks" or "orig_im_size" not in optional)


def _refused(path: Path, why: str, found: Sequence[Port], what: str = "inputs") -> UsageError:
    return UsageError(
        f"{path} is no export of a SAM that is known ({why}). Its {what}: {', '.join(map(str, found))}.",
        "Export with segment-anything's `export_onnx_model.py`, or MobileSAM's or EdgeSAM's; SAM 2 is "
        "`--segmenter sam2`.",
    )
