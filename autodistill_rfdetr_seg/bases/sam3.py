"""SAM 3: a text prompt straight to the masks of all its instances, by transformers' own classes.

An image goes through the vision encoder once and a prompt through the text encoder once, however many meet; each pair
of them then takes the detector's passes, several pairs at a time. No pair's answer hangs on another's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from autodistill.detection import CaptionOntology, DetectionBaseModel

from ..core.errors import UnknownNameError, UsageError
from ..system.devices import resolve_device
from . import base_options as options
from . import hub
from .base_images import bgr_of
from .base_ontology import ontology_of
from .contract import BgrImage

if TYPE_CHECKING:
    import supervision as sv

MODEL = "facebook/sam3"
_KINDS = ("sam3", "sam3_video", "sam3_lite_text")
# What decides an answer, and its default: the rest of the arguments is about speed and place.
_DECIDES: dict[str, Any] = {
    "score_threshold": 0.5,
    "mask_threshold": 0.5,
    "thresholds": {},
    "negatives": [],
    "negative_iou": 0.5,
}
# The processor pads each prompt to so many tokens, which is as many as the published text encoder has places for.
_TOKENS = 32
# A GPU's images a pass of the vision encoder and prompts a pass of the detector; a CPU gets one.
_GPU_IMAGES, _GPU_PROMPTS = 4, 8
# Pixels of masks that are brought to the image's size at a time (float32).
_PIXELS_AT_A_TIME = 1 << 24


class _Text(NamedTuple):
    """A prompt's features (1, tokens, channels), which of its tokens count (1, tokens), and the least score."""

    features: Any
    mask: Any
    threshold: float


class _Found(NamedTuple):
    """What a pair gave over its threshold: scores (N,), boxes (N, 4) as XYXY shares of the image, and masks (N, h, w)
    as probabilities, at the model's size."""

    scores: Any
    boxes: Any
    masks: Any


class Sam3(DetectionBaseModel):  # type: ignore[misc]
    """SAM 3, or SAM 3 LiteText where the weights are of that kind, as a base.

    A `negatives` prompt names what looks like one of the wanted things: an instance is dropped where a negative's mask
    covers it (by `negative_iou`) and scores better. Weights are fetched from the hub on first use, for those whom the
    model's owners have let in (HF_TOKEN), or read from a folder.

    Args:
        ontology: prompt → class, a `CaptionOntology` or a plain mapping; several prompts may find one class.
        model: a folder of weights with their processor, or a model id of the hub; None for `facebook/sam3`.
        revision: of the model id; None for `main`.
        score_threshold: an instance must score above it, 0..1; `thresholds` (prompt → score) has others for some.
        mask_threshold: a pixel of a mask must be likelier than this, 0..1.
        negatives: prompts of what is not wanted.
        negative_iou: the overlap from which a better negative drops an instance, over 0, at most 1.
        prompts_per_pass: (image, prompt) pairs the detector is given at a time; None for what suits the device.
        device: `auto`, or one of torch's.
        dtype: `auto` (bfloat16 or float16 on a GPU), `float32`, `float16` or `bfloat16`.

    Raises:
        UsageError: an option is out of range, or a prompt is longer than the model can read.
        UnknownNameError: `thresholds` names a prompt that is not asked for.
        MissingInputError, DataError: `model` is written as a path and holds no model.
        BaseModelError: the weights cannot be downloaded or read.
    """

    ontology: CaptionOntology

    def __init__(
        self,
        ontology: CaptionOntology | Mapping[str, str],
        *,
        model: str | None = None,
        revision: str | None = None,
        score_threshold: float = _DECIDES["score_threshold"],
        mask_threshold: float = _DECIDES["mask_threshold"],
        thresholds: Mapping[str, float] | None = None,
        negatives: str | Sequence[str] = (),
        negative_iou: float = _DECIDES["negative_iou"],
        prompts_per_pass: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        import transformers

        self.ontology = ontology_of(ontology)
        prompts, unwanted = list(self.ontology.prompts()), options.texts("negatives", negatives)
        own = options.shares("thresholds", thresholds)
        least = dict.fromkeys(prompts, options.share("score_threshold", score_threshold)) | own
        options.share("mask_threshold", mask_threshold)
        _check(prompts, unwanted, options.share("negative_iou", negative_iou), prompts_per_pass)
        for prompt in own:
            if prompt not in prompts:
                raise UnknownNameError("prompt in thresholds:", prompt, prompts)
        # What scores no better than the least wanted instance drops none.
        least |= dict.fromkeys(unwanted, min(least.values()))
        model = model or MODEL
        self.settings = self.identity(
            {
                "model": model,
                "revision": revision,
                "score_threshold": score_threshold,
                "mask_threshold": mask_threshold,
                "thresholds": own,
                "negatives": unwanted,
                "negative_iou": negative_iou,
            }
        )
        self._device = resolve_device(device)
        on_cpu = self._device == "cpu"
        self.preferred_batch = 1 if on_cpu else _GPU_IMAGES
        self._pairs_per_pass = prompts_per_pass or (1 if on_cpu else _GPU_PROMPTS)
        self._mask_threshold, self._negative_iou = mask_threshold, negative_iou
        self._prompts = len(prompts)
        self._encoding, self._asking = hub.Batches(), hub.Batches()
        # Not by AutoModel: the published configuration is that of the video model, of which this is a part.
        kind = hub.load_config(model, revision, _KINDS).model_type
        cls = transformers.Sam3LiteTextModel if kind == "sam3_lite_text" else transformers.Sam3Model
        self._processor = hub.load(transformers.Sam3Processor, model, revision)
        self._model = hub.load_model(cls, model, revision, self._device, hub.resolve_dtype(dtype, self._device))
        self._texts = self._read([*prompts, *unwanted], least)

    @staticmethod
    def identity(args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Weights, thresholds and negatives; device, data type and numbers at a time decide no label."""
        decides = {name: args.get(name, default) for name, default in _DECIDES.items()}
        decides["thresholds"] = options.shares("thresholds", decides["thresholds"])
        decides["negatives"] = options.texts("negatives", decides["negatives"])
        return {**decides, **hub.weights_identity(args.get("model") or MODEL, args.get("revision"), MODEL)}

    def predict(self, input: Any) -> sv.Detections:
        """The instances of one image: an HWC uint8 BGR array, a path, or a PIL image.

        Returns `xyxy` (N, 4) pixels, `mask` (N, H, W) bool, `confidence` (N,) in 0..1 and `class_id` (N,), the index of
        the prompt. Nothing found gives a `mask` of (0, H, W).

        Raises:
            UsageError: an array of another shape or dtype.
            DataError: a file that is no image.
            BaseModelError: the device has too little memory for one image or prompt.
        """
        return self.predict_batch([input])[0]

    def predict_batch(self, images: Sequence[Any]) -> list[sv.Detections]:
        """The same for several images at once, of any sizes."""
        import torch

        images = [bgr_of(image) for image in images]
        with torch.inference_mode():
            features = self._encoding.run(self._encode, images, self.preferred_batch)
            pairs = [(image, text) for image in range(len(images)) for text in range(len(self._texts))]
            found = self._asking.run(partial(self._ask, features), pairs, self._pairs_per_pass)
            each = len(self._texts)
            return [self._detections(image, found[at * each : (at + 1) * each]) for at, image in enumerate(images)]

    def _read(self, prompts: Sequence[str], least: Mapping[str, float]) -> list[_Text]:
        """The prompts' features; one prompt a pass, so that none hangs on what else is asked for."""
        import torch

        texts = []
        with torch.inference_mode():
            for prompt in prompts:
                tokens = self._processor(text=[prompt], return_tensors="pt").to(self._device)
                if tokens["input_ids"].shape[1] > _TOKENS:
                    raise UsageError(f"The prompt {prompt!r} is longer than the {_TOKENS} tokens SAM 3 reads.")
                mask = tokens["attention_mask"]
                read = self._model.get_text_features(input_ids=tokens["input_ids"], attention_mask=mask)
                texts.append(_Text(read.pooler_output, mask, least[prompt]))
        return texts

    def _encode(self, images: Sequence[BgrImage]) -> list[list[Any]]:
        """Each image's feature levels, then their positions: (1, channels, h, w) each."""
        rgb = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        # Said, since an image of three rows or columns could be taken for one with its channels there.
        given = self._processor(images=rgb, return_tensors="pt", input_data_format="channels_last")
        pixels = given["pixel_values"].to(self._device, self._model.dtype)
        seen = self._model.get_vision_features(pixel_values=pixels)
        levels = [*seen.fpn_hidden_states, *seen.fpn_position_encoding]
        return [[level[at : at + 1] for level in levels] for at in range(len(images))]

    def _ask(self, features: Sequence[Sequence[Any]], pairs: Sequence[tuple[int, int]]) -> list[_Found]:
        """What the detector finds of each (image, prompt) pair."""
        import torch
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        levels = [_stacked(level) for level in zip(*(features[image] for image, _ in pairs), strict=True)]
        half = len(levels) // 2
        texts = [self._texts[text] for _, text in pairs]
        text_embeds = torch.cat([text.features for text in texts])
        # Documented as a tensor, and read as a model's output with one in it: it is both. A copy, as a tensor that
        # holds itself would keep its memory.
        text_embeds.pooler_output = text_embeds.clone()
        out = self._model(
            vision_embeds=Sam3VisionEncoderOutput(
                fpn_hidden_states=tuple(levels[:half]), fpn_position_encoding=tuple(levels[half:])
            ),
            text_embeds=text_embeds,
            attention_mask=torch.cat([text.mask for text in texts]),
        )
        scores = out.pred_logits.float().sigmoid() * out.presence_logits.float().sigmoid()
        found = []
        for at, text in enumerate(texts):
            keep = scores[at] > text.threshold
            masks = out.pred_masks[at][keep].float().sigmoid()
            found.append(_Found(scores[at][keep], out.pred_boxes[at][keep].float(), masks))
        return found

    def _detections(self, image: BgrImage, found: Sequence[_Found]) -> sv.Detections:
        import supervision as sv
        import torch

        height, width = image.shape[:2]
        scores, boxes, masks = (torch.cat(part) for part in zip(*found[: self._prompts], strict=True))
        prompt = torch.cat([torch.full_like(one.scores, at) for at, one in enumerate(found[: self._prompts])])
        if len(found) > self._prompts and len(scores):
            unwanted = _Found(*(torch.cat(part) for part in zip(*found[self._prompts :], strict=True)))
            keep = ~self._beaten(scores, masks, unwanted)
            scores, boxes, masks, prompt = scores[keep], boxes[keep], masks[keep], prompt[keep]
        return sv.Detections(
            xyxy=boxes.cpu().numpy().astype(np.float64) * (width, height, width, height),
            mask=self._at_size(masks, height, width),
            confidence=scores.cpu().numpy().astype(np.float64),
            class_id=prompt.cpu().numpy().astype(int),
        )

    def _beaten(self, scores: Any, masks: Any, unwanted: _Found) -> Any:
        """Of each instance whether a better scored negative covers it, (N,) bool; at the model's size."""
        ours, theirs = ((m > self._mask_threshold).flatten(1).float() for m in (masks, unwanted.masks))
        shared = ours @ theirs.T
        iou = shared / (ours.sum(1)[:, None] + theirs.sum(1)[None] - shared).clamp(min=1)
        return ((iou >= self._negative_iou) & (unwanted.scores[None] > scores[:, None])).any(1)

    def _at_size(self, masks: Any, height: int, width: int) -> Any:
        """Masks (N, h, w) of probabilities as (N, height, width) bool arrays, a few at a time."""
        from torch.nn.functional import interpolate

        made = np.zeros((len(masks), height, width), dtype=bool)
        step = max(1, _PIXELS_AT_A_TIME // (height * width))
        for at in range(0, len(masks), step):
            part = interpolate(masks[at : at + step, None], size=(height, width), mode="bilinear", align_corners=False)
            made[at : at + step] = (part[:, 0] > self._mask_threshold).cpu().numpy()
        return made


def _stacked(levels: Sequence[Any]) -> Any:
    """One level of the images of a pass, without a copy where it is the same image throughout."""
    import torch

    first = levels[0]
    return first.expand(len(levels), -1, -1, -1) if all(one is first for one in levels) else torch.cat(list(levels))


def _check(prompts: Sequence[str], unwanted: Sequence[str], iou: float, per_pass: Any) -> None:
    if not iou:
        raise UsageError("The base's negative_iou is 0: every better negative would drop every instance.")
    if per_pass is not None and (isinstance(per_pass, bool) or not isinstance(per_pass, int) or per_pass < 1):
        raise UsageError(f"The base's prompts_per_pass is {per_pass!r}, which is not a number of 1 or more.")
    if both := sorted(set(prompts) & set(unwanted)):
        raise UsageError(f"The prompt {both[0]!r} is both wanted and among the negatives.")
