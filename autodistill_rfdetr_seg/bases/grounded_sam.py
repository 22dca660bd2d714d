"""GroundedSAM: autodistill-grounded-sam's own class, with its defects corrected around it.

- Its segmenter gets BGR and takes it for RGB. It is told the format.
- A box at whose place no word of the prompt was found keeps it all the same. It is given the class -1, which counts as
  dropped. Where only some words were (`dog` of `a red dog`), it is the prompt's box.
- Without boxes its masks are an array that no index fits. They are none, and the image is not encoded.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from autodistill.detection import DetectionBaseModel

from ..core.errors import AutodistillSegError, BaseModelError, MissingInputError
from . import groundingdino_compat
from .base_ontology import ontology_of
from .contract import BgrImage, Boxes, Masks
from .weight_hashes import weights_sha256

_CACHE = Path("~/.cache/autodistill")
_CONFIG = "groundingdino/GroundingDINO_SwinT_OGC.py"
# Where the package looks below its cache, and the SHA-256 of what it fetches into an empty one: labels made before and
# after the download are the same base's.
_CHECKPOINTS = {
    "groundingdino/groundingdino_swint_ogc.pth": "3b3ca2563c77c69f651d7bd133e97139c186df06231157a64c507099c52bc799",
    "segment_anything/sam_vit_h_4b8939.pth": "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
}


class CorrectedGroundedSAM(DetectionBaseModel):  # type: ignore[misc]
    """A base over a `GroundedSAM` object, which it leaves as it is."""

    def __init__(self, model: Any) -> None:
        self.ontology = model.ontology
        self._detector = _Detector(model.grounding_dino_model)
        self._segmenter = _Segmenter(model.sam_predictor)
        self._model = copy.copy(model)
        self._model.grounding_dino_model = self._detector
        self._model.sam_predictor = self._segmenter

    def predict(self, input: Any) -> Any:
        """The `sv.Detections` of one image, HWC uint8 BGR or what else autodistill takes; see `contract`.

        `class_id` is the prompt's index, or -1 for a box that no prompt's word was found for.
        """
        import supervision as sv

        self._detector.named.clear()
        self._segmenter.scores.clear()
        found = self._model.predict(input)
        if len(found) == 0:
            return sv.Detections.empty()
        class_id = np.where(self._detector.named, found.class_id, -1)
        data = {**found.data, "mask_score": np.array(self._segmenter.scores)}
        return dataclasses.replace(found, class_id=class_id, data=data)

    def label(self, *args: Any, **options: Any) -> Any:
        """autodistill's own, without the boxes of the class -1, for which its files have no place."""
        named = copy.copy(self)
        named.predict = lambda input: (found := self.predict(input))[found.class_id >= 0]  # type: ignore[method-assign]
        return super(CorrectedGroundedSAM, named).label(*args, **options)

    def segment(self, image: BgrImage, boxes_xyxy: Boxes) -> Masks:
        """Masks for boxes (N, 4), XYXY pixels, of an HWC uint8 BGR image."""
        self._segmenter.scores.clear()
        self._segmenter.set_image(image)
        masks = [self._segmenter.predict(box=box, multimask_output=False)[0][0] for box in boxes_xyxy]
        none = np.zeros((0, *image.shape[:2]), dtype=bool)
        return Masks(np.stack(masks) if masks else none, np.array(self._segmenter.scores, dtype=np.float64))


class GroundedSAMBase(CorrectedGroundedSAM):
    """Grounding DINO boxes of free-text prompts into SAM masks, by autodistill-grounded-sam.

    Raises:
        MissingInputError: its weights are not here and cannot be fetched.
        BaseModelError: they cannot be loaded.
        DependencyError: it has not been tested with the installed transformers.
    """

    def __init__(self, ontology: Any, box_threshold: float = 0.35, text_threshold: float = 0.25) -> None:
        super().__init__(_load(ontology_of(ontology), box_threshold=box_threshold, text_threshold=text_threshold))

    @staticmethod
    def identity(args: Mapping[str, Any]) -> dict[str, Any]:
        """The thresholds, and the SHA-256 of the checkpoints that are here or will be fetched."""
        return {"box_threshold": 0.35, "text_threshold": 0.25, **args, "weights": _weights()}


def corrected(model: Any) -> Any:
    """`model`, or a corrected base over it where it is a `GroundedSAM` (its `predict` is that package's own)."""
    module = getattr(getattr(type(model), "predict", None), "__module__", None) or ""
    return CorrectedGroundedSAM(model) if module.partition(".")[0] == "autodistill_grounded_sam" else model


class _Detector:
    """A `groundingdino.util.inference.Model` that keeps which boxes a word of the prompt was found for."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.named: list[bool] = []

    def predict_with_classes(self, image: BgrImage, classes: list[str], **thresholds: float) -> Any:
        # What the method of this name does with one class, whose phrases it keeps to itself.
        (prompt,) = classes
        found, phrases = self._model.predict_with_caption(image=image, caption=prompt, **thresholds)
        self.named += [bool(phrase.strip()) for phrase in phrases]
        found.class_id = np.zeros(len(found), dtype=np.int64)
        return found


class _Segmenter:
    """A `SamPredictor` that knows its images for BGR, encodes one when the first box needs it, and keeps its scores."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor
        self._waiting: BgrImage | None = None
        self.scores: list[float] = []

    def set_image(self, image: BgrImage) -> None:
        self._waiting = image

    def predict(self, **prompt: Any) -> Any:
        if self._waiting is not None:
            self._predictor.set_image(self._waiting, image_format="BGR")
            self._waiting = None
        found = self._predictor.predict(**prompt)
        self.scores.append(float(np.max(found[1])))
        return found


def _load(ontology: Any, **thresholds: float) -> Any:
    """A `GroundedSAM`, which fetches its weights where they are not there; what it prints goes to stderr."""
    groundingdino_compat.check()
    absent = [name for name in (_CONFIG, *_CHECKPOINTS) if not (_CACHE / name).expanduser().is_file()]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            from autodistill_grounded_sam import GroundedSAM

            return GroundedSAM(ontology=ontology, **thresholds)
    except (AutodistillSegError, ImportError):
        raise
    except Exception as error:
        said = str(error).strip().splitlines()
        reason = said[0].rstrip(".") if said else type(error).__name__
        places = " and ".join(str((_CACHE / name).expanduser()) for name in _CHECKPOINTS)
        if absent:
            raise MissingInputError(
                f"The weights of GroundedSAM are not here and could not be fetched: {reason}.",
                f"Copy them from elsewhere to {places}, with {Path(_CONFIG).name} beside the first; delete any that "
                "was not fetched to its end. The text model, bert-base-uncased, goes into the hub's cache.",
            ) from error
        raise BaseModelError(
            f"GroundedSAM could not be loaded: {reason}.",
            "Its text model, bert-base-uncased, comes from the Hugging Face hub or its cache: is it there? Its weights "
            f"are {places}: delete one that is damaged, and it is fetched again.",
        ) from error


def _weights() -> dict[str, str]:
    found = {}
    for name, published in _CHECKPOINTS.items():
        path = (_CACHE / name).expanduser()
        found[Path(name).name] = weights_sha256(path) if path.is_file() else published
    return found
