"""Masks from boxes by any SAM that was exported to ONNX as segment-anything does it: SAM, MobileSAM, EdgeSAM.

An image goes through the encoder once, however many boxes are asked about, now or right after; each box goes through
the decoder alone, as these exports take one prompt. `sam_signature` lists the known forms of files.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...core.errors import BaseModelError, MissingInputError, UsageError
from ...system.onnx_sessions import CPU, inputs_of, open_model, outputs_of
from ..contract import BgrImage, Boxes, Masks
from ..weight_hashes import weights_sha256
from .box_segmenter import image_key
from .sam_signature import Decoder, Encoder

# Of RGB 0..255, as segment-anything's `build_sam.py` has them.
_MEAN = np.array([123.675, 116.28, 103.53], dtype=np.float32)
_STD = np.array([58.395, 57.12, 57.375], dtype=np.float32)
# Corners of a box among the labels of points.
_CORNERS = np.array([[2, 3]], dtype=np.float32)
# Images whose features are kept: 4 MB each. The image, its mirrored picture, and those of another thread.
_KEPT = 4

_Floats = npt.NDArray[np.float32]


class Seen(NamedTuple):
    """An image's features as the decoder takes them, its (height, width), and the (height, width) that the encoder
    sees it in."""

    features: _Floats
    size: tuple[int, int]
    seen: tuple[int, int]


class OnnxSam:
    """The segmenter `onnx-sam`; see `contract.Segmenter`.

    May be asked from several threads.

    Args:
        model: a folder with one file `*encoder*.onnx` and one `*decoder*.onnx`.
        encoder, decoder: the two files, instead of `model` or where it holds several.
        threads: of the CPU; None for `OMP_NUM_THREADS`, or as many as there are cores.
        providers: of onnxruntime, the best first, such as `[CUDAExecutionProvider]`; None for the CPU.
        normalise: whether pixels are normalized before the encoder; None for what its form says (`sam_signature`).

    Raises:
        MissingInputError: there is no such file, or several in the folder could be it.
        UsageError: an option is out of range, or a file is of a form that is not known; its inputs are named.
        BaseModelError: a file is damaged.
    """

    def __init__(
        self,
        model: str | None = None,
        encoder: str | None = None,
        decoder: str | None = None,
        threads: int | None = None,
        providers: str | list[str] | None = None,
        normalise: bool | None = None,
    ) -> None:
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise UsageError(f"threads is {threads!r}, not a number of 1 or more.", "Leave it out for all cores.")
        if normalise is not None and not isinstance(normalise, bool):
            raise UsageError(f"normalise is {normalise!r}, neither true nor false.", "Leave it out for what fits.")
        given = {"model": model, "encoder": encoder, "decoder": decoder, "normalise": normalise}
        files = _files(given)
        self.settings = self.identity(given)
        wanted = _providers(providers)
        self._encoder, self._decoder = (open_model(path, wanted, threads) for path in files)
        self._sees = Encoder.from_inputs(files[0], inputs_of(self._encoder), normalise)
        self._says = Decoder.from_ports(files[1], inputs_of(self._decoder), outputs_of(self._decoder))
        self._kept: OrderedDict[str, Seen] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def identity(args: Mapping[str, Any]) -> Mapping[str, Any]:
        """The hashes of both files, and `normalise` where it is given: threads and providers do not change labels."""
        encoder, decoder = (weights_sha256(path) for path in _files(args))
        said = {} if args.get("normalise") is None else {"normalise": args["normalise"]}
        return {"encoder_sha256": encoder, "decoder_sha256": decoder, **said}

    def segment(self, image: BgrImage, boxes_xyxy: Boxes) -> Masks:
        """Masks for boxes (N, 4), XYXY pixels, of an HWC uint8 BGR image; N may be 0.

        Returns masks (N, H, W) bool, in the order of the boxes, and the model's own estimate of each mask's IoU, (N,)
        in 0..1. Where the decoder gives several masks of a box, that of the best estimate is taken.

        Raises:
            BaseModelError: the files do not fit each other, or gave something that is no mask of this image.
        """
        boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
        made = Masks(np.zeros((len(boxes), *image.shape[:2]), dtype=bool), np.zeros(len(boxes)))
        if len(boxes):
            seen = self._features(np.ascontiguousarray(image))
            for at, box in enumerate(boxes):
                made.masks[at], made.scores[at] = self._mask(seen, box)
        return made

    def _features(self, image: BgrImage) -> Seen:
        """The image's features, kept ones where it is the same to the byte."""
        key = image_key(image)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        pixels, seen = prepared(image, self._sees)
        features = self._run(self._encoder, None, {self._sees.name: pixels})[0]
        found = Seen(features, (image.shape[0], image.shape[1]), seen)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def _mask(self, of: Seen, box: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.bool_], float]:
        scale = np.array([of.seen[1] / of.size[1], of.seen[0] / of.size[0]] * 2)
        inputs: dict[str, Any] = {
            "image_embeddings": of.features,
            "point_coords": (box * scale).astype(np.float32).reshape(1, 2, 2),
            "point_labels": _CORNERS,
        }
        more = {
            "mask_input": np.zeros(self._says.mask_input, dtype=np.float32),
            "has_mask_input": np.zeros(1, dtype=np.float32),
            "orig_im_size": np.array(of.size, dtype=np.float32),
        }
        inputs |= {name: more[name] for name in self._says.optional}
        masks, scores = self._run(self._decoder, [self._says.masks, self._says.scores], inputs)
        estimates = np.nan_to_num(np.asarray(scores, dtype=np.float64).reshape(-1), nan=0.0)
        if masks.ndim != 4 or masks.shape[0] != 1 or masks.shape[1] != len(estimates):
            raise BaseModelError(
                f"The decoder gives masks of shape {masks.shape} and {len(estimates)} scores of a box."
            )
        best = int(estimates.argmax())
        mask = enlarged(masks[0, best], of, self._sees.side) if self._says.low_res else masks[0, best] > 0
        if mask.shape != of.size:
            raise BaseModelError(
                f"The decoder gives a mask of {mask.shape[0]}x{mask.shape[1]} (height x width) for an image of "
                f"{of.size[0]}x{of.size[1]}."
            )
        return mask, float(np.clip(estimates[best], 0, 1))

    @staticmethod
    def _run(session: Any, names: list[str] | None, inputs: Mapping[str, Any]) -> list[Any]:
        try:
            found: list[Any] = session.run(names, dict(inputs))
        except Exception as error:  # the runtime's errors have no common root
            said = str(error).strip().splitlines()
            raise BaseModelError(
                f"The SAM in ONNX failed: {said[0] if said else type(error).__name__}",
                "Are encoder and decoder of one export?",
            ) from error
        return found


def prepared(image: BgrImage, form: Encoder) -> tuple[npt.NDArray[Any], tuple[int, int]]:
    """What the encoder takes for an HWC uint8 BGR image, and the (height, width) that the image has in it.

    The longest side becomes `form.side`, by the filter and the rounding of segment-anything's `ResizeLongestSide`.
    """
    from PIL import Image

    longest = max(image.shape[:2])
    height, width = (int(side * form.side / longest + 0.5) or 1 for side in image.shape[:2])
    rgb = np.ascontiguousarray(image[..., ::-1])
    scaled = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))
    pixels = (scaled.astype(np.float32) - _MEAN) / _STD if form.normalized else scaled
    if form.padded:
        pixels = np.pad(pixels, ((0, form.side - height), (0, form.side - width), (0, 0)))
    pixels = pixels.transpose(2, 0, 1) if form.planar else pixels
    pixels = np.ascontiguousarray(pixels, dtype=form.dtype)
    return (pixels[None] if form.batch else pixels), (height, width)


def enlarged(logits: _Floats, of: Seen, side: int) -> npt.NDArray[np.bool_]:
    """The mask (H, W) bool of logits (h, w) of the square: as segment-anything's `postprocess_masks`."""
    import cv2

    square = cv2.resize(logits.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    inside = square[: of.seen[0], : of.seen[1]]
    return np.asarray(cv2.resize(inside, of.size[::-1], interpolation=cv2.INTER_LINEAR) > 0, dtype=bool)


def _files(args: Mapping[str, Any]) -> tuple[Path, Path]:
    """Encoder and decoder, as `model`, `encoder` and `decoder` name them."""
    folder = args.get("model")
    found = []
    for part in ("encoder", "decoder"):
        if (named := args.get(part)) is not None:
            path = Path(str(named)).expanduser()
            if not path.is_file():
                raise MissingInputError(f"There is no ONNX file {path}, which was given as the {part}.")
        elif folder is None:
            raise MissingInputError(
                f"onnx-sam has no {part}: no weights are fetched for it.",
                "Give the files of an export: --segmenter-arg model=DIR, or encoder=FILE and decoder=FILE.",
            )
        else:
            path = _in_folder(Path(str(folder)).expanduser(), part)
        found.append(path)
    return found[0], found[1]


def _in_folder(folder: Path, part: str) -> Path:
    if not folder.is_dir():
        raise MissingInputError(f"There is no folder {folder} with the ONNX files of a SAM.")
    found = sorted(path for path in folder.glob("*.onnx") if part in path.name.lower())
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found or sorted(folder.glob("*.onnx"))) or "no ONNX file at all"
    raise MissingInputError(
        f"{folder} does not tell which file is the {part}: it holds {names}.",
        f"One file's name must contain `{part}`; or name it: --segmenter-arg {part}=FILE.",
    )


def _providers(given: Any) -> list[str]:
    listed = [CPU] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(listed, list | tuple) or not listed or not all(isinstance(one, str) for one in listed):
        raise UsageError(f"providers is {given!r}, no name of a provider.", "Write providers=[CUDAExecutionProvider].")
    return list(listed)
