"""Grounding DINO of transformers: free text into boxes; many images and many prompts at a time."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from autodistill.detection import CaptionOntology, DetectionBaseModel

from ...core.errors import BaseModelError, UnknownNameError
from ...system.devices import resolve_device
from .. import base_options as options
from .. import hub
from ..base_images import bgr_of
from ..base_ontology import ontology_of
from ..contract import BgrImage
from ..model_weights import GROUNDING_DINO
from . import grounding_captions as captions
from . import grounding_cpu_speed as grounding_speed
from .grounding_scores import Found, SharedFeatures, corners, found, joined, outdone, padded, prompt_scores, suppressed

if TYPE_CHECKING:
    import supervision as sv

Mode = Literal["joint", "exact"]

MODEL, _, REVISION = GROUNDING_DINO.partition("@")
_KINDS = ("grounding-dino", "mm-grounding-dino")
_BATCH_ON_GPU = 8


class GroundingDino(DetectionBaseModel):  # type: ignore[misc]
    """Finds what prompts say in words; boxes without masks, `class_id` the prompt's index.

    The prompts go into captions, which the model is asked with. `mode="joint"` puts as many into each as its text limit
    allows (256 tokens, about 80 prompts): one pass an image for most ontologies, but the prompts of a caption
    influence one another. `mode="exact"` asks each prompt by itself, with the same result as if it were the only
    one; the image's features are computed once for all. Its cost grows with the number of prompts.

    A box's score for a prompt is that of the prompt's best token; of the prompts of one caption that score over their
    thresholds the best has the box.
    In `exact`, and of two captions, an object found by two prompts comes twice: NMS on masks keeps one
    when the dataset is built. Prompts that come to the same tokens are asked once; the first of them answers.

    Args:
        ontology: prompt → class, a `CaptionOntology` or a plain mapping. Case and a full stop at the end do not count.
        model: a folder of weights or a model id of the hub, of a Grounding DINO or MM Grounding DINO. The hub's are
            fetched on first use; without a network they must be in its cache (`HF_HUB_OFFLINE=1`), or in a folder.
        revision: branch, tag or commit of the model id; None is a fixed commit of the default model, else `main`.
        device, dtype: `auto` is the best GPU with bfloat16 or float16 where it has them, else the CPU with
            float32. Weights and boxes' coordinates are float32 always; `dtype` is that of the arithmetic between.
        mode: `joint` or `exact`.
        box_threshold: a box is kept where it scores more than this for its prompt.
        text_threshold: a token counts for its prompt only where it scores more than this. As a box's score is that of
            one token, this matters where it is the higher of the two: to keep fainter boxes, lower both.
        thresholds: prompt → the threshold of its boxes, in place of both.
        negatives: prompts for objects that only look like the wanted ones: a box is dropped where a negative scores
            better, on that box or on one that overlaps it by an IoU of 0.8.
        nms_iou: of boxes of one prompt that overlap by more than this, only the best is kept; None keeps all.

    Raises:
        UsageError: the ontology is empty, a prompt cannot be asked, or an option is out of range.
        UnknownNameError: `thresholds` names a prompt that is not there.
        BaseModelError, MissingInputError: the weights cannot be downloaded or read.
    """

    ontology: CaptionOntology

    def __init__(
        self,
        ontology: CaptionOntology | Mapping[str, str],
        *,
        model: str = MODEL,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        mode: Mode = "joint",
        box_threshold: float = 0.35,
        text_threshold: float = 0.25,
        thresholds: Mapping[str, float] | None = None,
        negatives: Sequence[str] | str = (),
        nms_iou: float | None = None,
    ) -> None:
        ontology = ontology_of(ontology)
        if mode not in get_args(Mode):
            raise UnknownNameError("mode", str(mode), get_args(Mode))
        self.ontology, self.model, self.revision, self.mode = ontology, model, _revision(model, revision), mode
        self.box_threshold, self.text_threshold, self.nms_iou = box_threshold, text_threshold, nms_iou
        self.negatives = tuple(options.texts("negatives", negatives))
        self.thresholds = options.shares("thresholds", thresholds)
        named = ("model", "revision", "mode", "box_threshold", "text_threshold", "thresholds", "negatives", "nms_iou")
        self.settings = self.identity({name: getattr(self, name) for name in named} | {"dtype": dtype})
        self._thresholds = self._of_each_prompt()
        self._device = resolve_device(device)
        self._dtype = hub.resolve_dtype(dtype, self._device)
        self._dropped = 0
        self._batches = hub.Batches()
        self._load()

    @property
    def preferred_batch(self) -> int:
        """How many images at a time suit the device."""
        return 1 if self._device == "cpu" else _BATCH_ON_GPU

    @property
    def dropped_by_negatives(self) -> int:
        """How many boxes the negatives have taken away so far."""
        return self._dropped

    @staticmethod
    def identity(args: Mapping[str, Any]) -> dict[str, Any]:
        """What determines the answers, from the constructor's arguments: all but the device."""
        parameters = inspect.signature(GroundingDino).parameters
        given = {name: one.default for name, one in parameters.items() if name not in ("ontology", "device")}
        given |= {name: value for name, value in args.items() if name != "device"}
        model, revision = str(given.pop("model")), given.pop("revision")
        given["negatives"] = options.texts("negatives", given["negatives"])
        given["thresholds"] = options.shares("thresholds", given["thresholds"])
        return {"weights": hub.weights_identity(model, _revision(model, revision), MODEL), **given}

    def predict(self, input: Any) -> sv.Detections:
        """The boxes in one image: an HWC uint8 BGR array, a path, or a PIL image; as `predict_batch`."""
        return self.predict_batch([input])[0]

    def predict_batch(self, images: Sequence[Any]) -> list[sv.Detections]:
        """The boxes in each of several images, of any sizes: HWC uint8 BGR arrays, paths or PIL images.

        Each answer has `xyxy` (N, 4) float32 pixels, which may reach a little beyond the image, `confidence` (N,)
        float32 in 0..1 and `class_id` (N,), best first. All images are held at the model's size (13 MB each) at once.

        Raises:
            UsageError: an array of another shape or dtype.
            DataError: a file that is no image.
            BaseModelError: the device has too little memory for one image, or the model's answer is not a number.
        """
        import torch

        arrays = [bgr_of(image) for image in images]
        prepared = [self._prepared(image) for image in arrays]
        answers: list[Any] = [None] * len(arrays)
        # Images of one size in a batch: padding would change their features.
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, pixels in enumerate(prepared):
            by_size.setdefault(tuple(pixels.shape), []).append(index)
        for indices in by_size.values():
            pixels = torch.stack([prepared[index] for index in indices])
            for index, given in zip(indices, self._found(pixels, max(self.preferred_batch, len(arrays))), strict=True):
                answers[index] = self._detections(given, arrays[index])
        return answers

    def _of_each_prompt(self) -> list[float]:
        """The threshold of each prompt, and of the negatives the lowest there is: fainter boxes have none to drop."""
        prompts = self.ontology.prompts()
        for prompt in self.thresholds:
            if prompt not in prompts:
                raise UnknownNameError("prompt in thresholds:", prompt, prompts)
        if self.nms_iou is not None:
            options.share("nms_iou", self.nms_iou)
        names = ("box_threshold", "text_threshold")
        general = max(options.share(name, getattr(self, name)) for name in names)
        own = [float(self.thresholds.get(prompt, general)) for prompt in prompts]
        return own + [min(own)] * len(self.negatives)

    def _load(self) -> None:
        import torch
        from transformers import (
            AutoModelForZeroShotObjectDetection,
            AutoTokenizer,
            GroundingDinoImageProcessor,
        )

        at = self.model, self.revision
        config = hub.load_config(*at, _KINDS)
        tokenizer = hub.load(AutoTokenizer, *at)
        self._marks = captions.Marks.from_tokenizer(tokenizer)
        self._captions = self._packed(tokenizer, config)
        self._processor = hub.load(GroundingDinoImageProcessor, *at)
        self._network = hub.load_model(AutoModelForZeroShotObjectDetection, *at, self._device, "float32")
        if (self._device, self._dtype) == ("cpu", "float32") and hub.was_run():
            grounding_speed.quicken(self._network)
        self._limits = torch.tensor(self._thresholds, device=self._device)
        self._features: SharedFeatures | None = None
        if len(self._captions) > 1:
            backbone = self._network.model.backbone
            self._features = backbone.forward = SharedFeatures(backbone.forward)

    def _packed(self, tokenizer: Any, config: Any) -> list[captions.Caption]:
        """The captions, in which owners are indices of the prompts and then of the negatives."""
        names = [*self.ontology.prompts(), *self.negatives]
        classes = [*self.ontology.classes(), *[None] * len(self.negatives)]
        limit = min(config.max_text_len, config.text_config.max_position_embeddings)

        def tokenize(text: str) -> list[int]:
            return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]  # type: ignore[no-any-return]

        ids = [captions.token_ids(name, tokenize, self._marks, limit) for name in names]
        asked = {index: ids[index] for index in captions.distinct(names, ids, classes, self._thresholds)}
        return captions.pack(asked, self._marks, limit, together=self.mode == "joint")

    def _prepared(self, image: BgrImage) -> Any:
        """The image as the model wants it, (3, h, w) float32 on the device."""
        rgb = image[:, :, ::-1].copy()
        given = self._processor(images=rgb, input_data_format="channels_last", return_tensors="pt", device=self._device)
        # An image processor may do its work in numpy.
        return given["pixel_values"][0].to(self._device)

    def _found(self, pixels: Any, size: int) -> list[Found]:
        """What is found in each of some images of one size, (B, 3, h, w); `size` of them, or captions, at a time."""
        # Image by image, so that features need not be kept for long.
        pairs = list(itertools.product(range(len(pixels)), self._captions))
        try:
            parts = self._batches.run(lambda batch: self._asked(pixels, batch), pairs, size)
        finally:
            if self._features is not None:
                self._features.expect(())
        each = len(self._captions)
        return [self._settled(parts[n : n + each]) for n in range(0, len(parts), each)]

    def _asked(self, pixels: Any, batch: Sequence[tuple[int, captions.Caption]]) -> list[tuple[Found, Found | None]]:
        """For each image and caption what the prompts and what the negatives find."""
        import torch

        rows = [row for row, _ in batch]
        ids = padded([caption.ids for _, caption in batch], self._marks.padding, self._device)
        owners = padded([caption.owners for _, caption in batch], captions.NOBODY, self._device)
        if self._features is not None:
            self._features.expect(rows)
        mask = (ids != self._marks.padding).long()
        kind = getattr(torch, self._dtype)
        with torch.inference_mode(), torch.autocast(self._device.partition(":")[0], kind, kind != torch.float32):
            said = self._network(pixel_values=pixels[rows], input_ids=ids, attention_mask=mask)
        scores = prompt_scores(said.logits, owners, len(self._thresholds))
        boxes = corners(said.pred_boxes)
        if not bool(torch.isfinite(scores).all() & torch.isfinite(boxes).all()):
            raise BaseModelError("The model's answer is not a number.", "Ask it with dtype=float32.")
        split = len(self._thresholds) - len(self.negatives)
        return [
            (
                found(score[:, :split], box, self._limits[:split]),
                found(score[:, split:], box, self._limits[split:]) if self.negatives else None,
            )
            for score, box in zip(scores, boxes, strict=True)
        ]

    def _settled(self, parts: Sequence[tuple[Found, Found | None]]) -> Found:
        """What all captions together find in one image."""
        positives = joined([positive for positive, _ in parts])
        negatives = [negative for _, negative in parts if negative is not None]
        if negatives:
            out = outdone(positives, joined(negatives))
            self._dropped += int(out.sum())
            positives = positives.take(~out)
        return suppressed(positives, self.nms_iou)

    def _detections(self, given: Found, image: BgrImage) -> sv.Detections:
        import supervision as sv

        height, width = image.shape[:2]
        boxes, scores, prompts = (tensor.cpu().numpy() for tensor in given)
        scale = np.array([width, height, width, height], dtype=np.float32)
        return sv.Detections(xyxy=boxes * scale, confidence=scores, class_id=prompts.astype(int))


def _revision(model: str, revision: str | None) -> str | None:
    return REVISION if revision is None and model == MODEL else revision
