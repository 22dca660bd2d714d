"""Masks from boxes, by transformers' own SAM classes.

An image goes through the encoder once, however many boxes are asked about, now or right after: the features of the
latest images are kept. Boxes go through the mask decoder a few of one image at a time: nothing is padded, and on a CPU
an image's masks do not depend on what else is asked, to the bit.

The encoder runs in the data type asked for, the decoder always in float32: bfloat16 would round the corner of a box to
every second pixel of the 1024 that the model sees.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ...core.errors import UsageError
from ...system.devices import resolve_device
from .. import hub
from ..contract import BgrImage, Boxes, Masks

# Images that a GPU encodes, and boxes that it decodes, at a time; a CPU gains nothing from more than its few.
_GPU_IMAGES, _CPU_IMAGES = 8, 1
_GPU_BOXES, _CPU_BOXES = 32, 5
# Pixels of masks that are brought to the image's size at a time (float32, with a copy or two): 4K comes one by one.
_PIXELS_AT_A_TIME = 1 << 24
# Images whose features may be kept: SAM 2 has 17 MB of them an image in float32, SAM 4 MB.
_KEPT_AT_MOST = 32


class Encoded(NamedTuple):
    """An image's features, its (height, width), and the (height, width) it has as the model sees it."""

    features: tuple[Any, ...]
    size: tuple[int, int]
    seen: tuple[int, int]


class BoxSegmenter:
    """What the segmenters below share; see `contract.Segmenter`.

    Args:
        model: a folder of weights with their processor, or a model id of the hub; None for the class's own.
        revision: of the model id; None for `main`.
        device: `auto`, or one of torch's.
        dtype: of the encoder: `auto` (bfloat16 or float16 on a GPU), `float32`, `float16` or `bfloat16`.
        boxes_per_pass: boxes the mask decoder is given at a time; it changes speed and memory, not masks.

    Raises:
        MissingInputError, DataError: `model` is written as a path and holds no model.
        BaseModelError: the weights cannot be downloaded or read.
        UsageError: an option is out of range, or the weights are of another kind of model.
    """

    default_model: ClassVar[str]
    _model_class: ClassVar[str]
    _processor_class: ClassVar[str]
    _kinds: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        model: str | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        boxes_per_pass: int | str = "auto",
    ) -> None:
        import transformers

        if boxes_per_pass != "auto" and not (isinstance(boxes_per_pass, int) and boxes_per_pass >= 1):
            raise UsageError(f"boxes_per_pass is {boxes_per_pass!r}, neither auto nor a number of 1 or more.")
        model = model or self.default_model
        self.settings = self.identity({"model": model, "revision": revision})
        self._device = resolve_device(device)
        self._dtype = hub.resolve_dtype(dtype, self._device)
        on_cpu = self._device == "cpu"
        self._images_per_pass = _CPU_IMAGES if on_cpu else _GPU_IMAGES
        automatic = _CPU_BOXES if on_cpu else _GPU_BOXES
        self._boxes_per_pass = automatic if boxes_per_pass == "auto" else int(boxes_per_pass)
        hub.load_config(model, revision, self._kinds)
        self._processor = hub.load(getattr(transformers, self._processor_class), model, revision)
        self._model = hub.load_model(
            getattr(transformers, self._model_class), model, revision, self._device, dtype="float32"
        )
        self._kept: OrderedDict[str, Encoded] = OrderedDict()
        self._room = 0
        self._encoding, self._decoding = hub.Batches(), hub.Batches()

    @classmethod
    def identity(cls, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """The weights alone: device, data type and numbers at a time decide no label."""
        return hub.weights_identity(args.get("model") or cls.default_model, args.get("revision"), cls.default_model)

    @property
    def preferred_batch(self) -> int:
        """How many images at a time suit the device."""
        return self._images_per_pass

    def segment(self, image: BgrImage, boxes_xyxy: Boxes) -> Masks:
        """Masks for boxes (N, 4), XYXY pixels, of an HWC uint8 BGR image; N may be 0.

        Raises:
            BaseModelError: the device has too little memory for one box.
        """
        return self.segment_batch([image], [boxes_xyxy])[0]

    def segment_batch(self, images: Sequence[BgrImage], boxes_xyxy: Sequence[Boxes]) -> list[Masks]:
        """The same for several images, of any sizes; one without boxes is not encoded.

        Returns for each image masks (N, H, W) bool, in the order of its boxes, and the model's own estimate of each
        mask's IoU, (N,) in 0..1.

        Raises:
            BaseModelError: the device has too little memory for one image or box.
        """
        boxes = [np.asarray(one, dtype=np.float64).reshape(-1, 4) for one in boxes_xyxy]
        made = [
            Masks(np.zeros((len(mine), *image.shape[:2]), dtype=bool), np.zeros(len(mine)))
            for image, mine in zip(images, boxes, strict=True)
        ]
        asked = [at for at, mine in enumerate(boxes) if len(mine)]
        for start in range(0, len(asked), _KEPT_AT_MOST):
            part = asked[start : start + _KEPT_AT_MOST]
            for at, encoded in zip(part, self._encoded([images[at] for at in part]), strict=True):
                self._decode(encoded, boxes[at], made[at])
        return made

    def _encoded(self, images: Sequence[BgrImage]) -> list[Encoded]:
        """The images' features, kept ones where an image is the same to the byte."""
        keys = [image_key(image) for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._kept}
        # Twice the largest batch, so that other pictures of the same images (mirrored, say) do not drive these out.
        self._room = min(_KEPT_AT_MOST, max(self._room, 2 * len(images)))
        found = {key: self._kept[key] for key in keys if key in self._kept}
        for key in found:
            self._kept.move_to_end(key)
        while self._kept and len(self._kept) + len(new) > self._room:
            self._kept.popitem(last=False)
        found |= zip(new, self._encoding.run(self._encode, list(new.values()), self._images_per_pass), strict=True)
        self._kept |= found
        return [found[key] for key in keys]

    def _encode(self, images: Sequence[BgrImage]) -> list[Encoded]:
        import cv2
        import torch

        rgb = [cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2RGB) for image in images]
        inputs = self._processor.image_processor(
            rgb, return_tensors="pt", input_data_format="channels_last", device=self._device
        )
        pixels = inputs["pixel_values"].to(self._device)
        low = self._dtype != "float32"
        kind = torch.device(self._device).type
        with torch.inference_mode(), torch.autocast(kind, dtype=getattr(torch, self._dtype), enabled=low):
            features = self._features(pixels)
        seen = inputs.get("reshaped_input_sizes", [pixels.shape[-2:]] * len(images))
        return [
            # A copy: a view would hold the whole batch for as long as one of its images is kept.
            Encoded(
                tuple(f[at].clone() for f in features),
                (image.shape[0], image.shape[1]),
                (int(seen[at][0]), int(seen[at][1])),
            )
            for at, image in enumerate(images)
        ]

    def _decode(self, image: Encoded, boxes: Boxes, made: Masks) -> None:
        """Fills in an image's masks and scores."""
        import torch

        features = [level[None].float() for level in image.features]
        prompts = torch.tensor(boxes * _scale(image), dtype=torch.float32, device=self._device)

        def decode(rows: Sequence[int]) -> Sequence[int]:
            with torch.inference_mode():
                said = self._model(
                    **self._embeddings(features), input_boxes=prompts[rows][None], multimask_output=False
                )
                made.scores[rows] = torch.nan_to_num(said.iou_scores).clamp(0, 1).flatten().cpu().numpy()
                self._write(said.pred_masks[0], rows, image, made.masks)
            return rows

        self._decoding.run(decode, list(range(len(boxes))), self._boxes_per_pass)

    def _write(self, logits: Any, places: Sequence[int], of: Encoded, out: Any) -> None:
        """Brings logits (N, 1, h, w) to the image's size, as bool, and to their `places` in `out`."""
        step = max(1, _PIXELS_AT_A_TIME // (of.size[0] * of.size[1]))
        for start in range(0, len(places), step):
            part = slice(start, start + step)
            out[places[part]] = self._upsampled(logits[part], of)[:, 0].cpu().numpy()

    def _features(self, pixels: Any) -> tuple[Any, ...]:
        """What the encoder makes of pixels (B, 3, S, S): tensors whose first axis is the image."""
        return (self._model.get_image_embeddings(pixels),)

    def _embeddings(self, features: Sequence[Any]) -> dict[str, Any]:
        """The same as arguments of the model's own call."""
        return {"image_embeddings": features[0]}

    def _upsampled(self, logits: Any, of: Encoded) -> Any:
        """Masks (N, 1, H, W), bool, of logits (N, 1, h, w)."""
        return self._processor.post_process_masks([logits], [of.size], [of.seen])[0]


def image_key(image: BgrImage) -> str:
    """The key of an image: its content, because an array may be filled again."""
    return f"{image.shape}{hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()}"


def _scale(image: Encoded) -> Boxes:
    """The factors from a box XYXY in pixels of the image to the model's pixels."""
    (height, width), (seen_height, seen_width) = image.size, image.seen
    return np.array([seen_width / width, seen_height / height] * 2)
