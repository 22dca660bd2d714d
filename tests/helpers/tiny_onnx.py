"""Tiny ONNX models in the signatures of real ones: a SAM's two files in the forms of several exports, and a detector.

The SAM's mask is what is red within the box, and its score the box's share of the square that the model sees: what a
wrong order of colours, a wrong scale or a wrong corner would change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Pixels a side of the square that these models see; one whose sides are free sees SAM's own.
SIDE, FREE = 256, 1024
_HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
_NORMALISE = """
    mean = Constant <value = float[1,3,1,1] {123.675, 116.28, 103.53}> ()
    std = Constant <value = float[1,3,1,1] {58.395, 57.12, 57.375}> ()
    less = Sub (raw, mean)
    normal = Div (less, std)
"""
# What is not there yet of the square is padded behind.
_PAD = """
    there = Shape (normal)
    square = Constant <value = int64[4] {1, 3, SIDE, SIDE}> ()
    absent = Sub (square, there)
    none = Constant <value = int64[4] {0, 0, 0, 0}> ()
    pads = Concat <axis = 0> (none, absent)
    padded = Pad (normal, pads)
"""
_POOL = "image_embeddings = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (padded)"
_ENCODERS = {
    # segment-anything's, MobileSAM's and EdgeSAM's
    "planar": ("float[batch, 3, SIDE, SIDE] image", "padded = Identity (image)"),
    # samexporter's with --use-preprocess
    "interleaved": (
        "float[h, w, 3] image",
        "planes = Transpose <perm = [2, 0, 1]> (image) zero = Constant <value = int64[1] {0}> () "
        f"raw = Unsqueeze (planes, zero) {_NORMALISE} {_PAD}",
    ),
    "bytes": (
        "uint8[1, SIDE, SIDE, 3] image",
        f"numbers = Cast <to = 1> (image) raw = Transpose <perm = [0, 3, 1, 2]> (numbers) {_NORMALISE} {_PAD}",
    ),
    "planar bytes": ("uint8[1, 3, SIDE, SIDE] image", f"raw = Cast <to = 1> (image) {_NORMALISE} {_PAD}"),
}
_POINTS = "float[1, 3, LOW, LOW] image_embeddings, float[1, points, 2] point_coords, float[1, points] point_labels"
_REST = "float[1, 1, LOW, LOW] mask_input, float[1] has_mask_input, float[2] orig_im_size"
_BOX = """
    zero = Constant <value = int64[1] {0}> () one = Constant <value = int64[1] {1}> ()
    two = Constant <value = int64[1] {2}> () first = Constant <value = int64[1] {1}> ()
    upper = Slice (point_coords, zero, one, first) lower = Slice (point_coords, one, two, first)
    x0 = Slice (upper, zero, one, two) y0 = Slice (upper, one, two, two)
    x1 = Slice (lower, zero, one, two) y1 = Slice (lower, one, two, two)
    left = Sub (columns, x0) right = Sub (x1, columns) top = Sub (rows, y0) bottom = Sub (y1, rows)
    inside = Min (left, right, top, bottom)
    inside4 = Unsqueeze (inside, zero)
    red = Slice (image_embeddings, zero, one, first)
    best = Min (inside4, red)
    wide = Sub (x1, x0) high = Sub (y1, y0) area = Mul (wide, high)
    whole = Constant <value = float[1,1,1] {WHOLE}> () share3 = Div (area, whole) share = Squeeze (share3, zero)
"""


def save_sam(folder: Path, encoder: str = "planar", decoder: str = "low", prefix: str = "sam_") -> Path:
    """`folder` with an encoder and a decoder. `decoder` is `low` (segment-anything's), `several` (the same, four masks
    of which the third scores best), `full` (`masks` at the image's own size, for square images), `edge` (EdgeSAM's)."""
    folder.mkdir(parents=True, exist_ok=True)
    side = FREE if encoder == "interleaved" else SIDE
    inputs, body = _ENCODERS[encoder]
    text = f"g ({inputs}) => (float[1, 3, LOW, LOW] image_embeddings) {{{body} {_POOL}}}"
    _save(folder / f"{prefix}encoder.onnx", _sized(text, side))
    given = {
        "low": "float[1, m, h, w] masks, float[1, m] iou_predictions, float[1, m, LOW, LOW] low_res_masks",
        "several": "float[1, m, h, w] masks, float[1, m] iou_predictions, float[1, m, LOW, LOW] low_res_masks",
        "full": "float[1, m, h, w] masks, float[1, m] iou_predictions",
        "edge": "float[1, m] scores, float[1, m, LOW, LOW] masks",
    }[decoder]
    made = {
        # Frozen at one aspect ratio, as old exports are: of no use where low_res_masks is there.
        "low": "low_res_masks = Identity (best) masks = Neg (best) iou_predictions = Identity (share)",
        "several": "other = Neg (best) low_res_masks = Concat <axis = 1> (other, other, best, other) "
        "less = Sub (share, one_) iou_predictions = Concat <axis = 1> (less, less, share, less) masks = Neg (best)",
        "full": "ends = Cast <to = 7> (orig_im_size) before = Constant <value = int64[2] {1, 1}> () "
        'sizes = Concat <axis = 0> (before, ends) masks = Resize <mode = "linear"> (best, , , sizes) '
        "iou_predictions = Identity (share)",
        "edge": "masks = Identity (best) scores = Identity (share)",
    }[decoder]
    made = "one_ = Constant <value = float {1.0}> () " + made
    inputs = _POINTS if decoder == "edge" else f"{_POINTS}, {_REST}"
    text = f"g ({inputs}) => ({given}) {{{_grid(side)} {_BOX} {made}}}"
    _save(folder / f"{prefix}decoder.onnx", _sized(text, side))
    return folder


def save_detector(path: Path, rows: list[list[float]], side: int = 64) -> Path:
    """A detector that finds the same `rows` (x0, y0, x1, y1 in pixels of its square, score, class) in every image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = ", ".join(f"{float(number)!r}" for row in rows for number in row)
    _save(
        path,
        f"g (float[1, {side}, {side}, 3] images) => (float[1, {len(rows)}, 6] detections) {{ "
        f"rows = Constant <value = float[1,{len(rows)},6] {{{flat}}}> () zero = Constant <value = float {{0.0}}> () "
        "mean = ReduceMean <keepdims = 0> (images) nothing = Mul (mean, zero) detections = Add (rows, nothing) }",
    )
    return path


def _grid(side: int) -> str:
    centres = ", ".join(repr(at + 2.0) for at in range(0, side, 4))
    return (
        f"columns = Constant <value = float[1,1,LOW] {{{centres}}}> () "
        f"rows = Constant <value = float[1,LOW,1] {{{centres}}}> ()"
    )


def _sized(text: str, side: int) -> str:
    return text.replace("SIDE", str(side)).replace("LOW", str(side // 4)).replace("WHOLE", str(float(side * side)))


def _save(path: Path, graph: str) -> None:
    import onnx

    model: Any = onnx.parser.parse_model(f"{_HEAD} {graph}")
    onnx.save(model, str(path))
