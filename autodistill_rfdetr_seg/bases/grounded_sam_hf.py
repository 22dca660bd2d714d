"""Free text to masks, by transformers' classes alone: Grounding DINO finds, a SAM segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .base_classes import build, identity_of
from .detector_and_segmenter import SegmentedBase
from .grounding.grounding_dino import GroundingDino
from .segmenters.segmenter_registry import create_segmenter, find_segmenter

if TYPE_CHECKING:
    from autodistill.detection import CaptionOntology

DEFAULT_SEGMENTER = "sam2"


class GroundedSAMHF(SegmentedBase):
    """What autodistill's `GroundedSAM` does, with batches, and one pass of each model an image.

    Args:
        ontology: prompt → class, a `CaptionOntology` or a plain mapping.
        model, revision: of the detector; None for its own.
        segmenter: a registered segmenter (`sam2`, `sam`, `sam-hq`, `onnx-sam`), or `package.module:Class`.
        segmenter_model, segmenter_revision: of the segmenter; None for its own.
        segmenter_args: further arguments of the segmenter, such as `boxes_per_pass`.
        device, dtype: of both, where the segmenter has such options (`onnx-sam` has `providers` among its arguments).
        options: of the detector: `box_threshold`, `text_threshold`, `thresholds`, `mode`, `negatives`.

    Raises:
        UnknownNameError: the segmenter or an option is not known; the nearest is suggested.
        BaseModelError: weights cannot be downloaded or read.
    """

    def __init__(
        self,
        ontology: CaptionOntology | Mapping[str, str],
        model: str | None = None,
        revision: str | None = None,
        segmenter: str = DEFAULT_SEGMENTER,
        segmenter_model: str | None = None,
        segmenter_revision: str | None = None,
        segmenter_args: Mapping[str, Any] | None = None,
        device: str = "auto",
        dtype: str = "auto",
        **options: Any,
    ) -> None:
        places = {"device": device, "dtype": dtype}
        super().__init__(
            build(
                GroundingDino, "base 'grounding-dino'", _weights(model, revision) | places | options, ontology=ontology
            ),
            create_segmenter(
                segmenter, _weights(segmenter_model, segmenter_revision) | dict(segmenter_args or {}), places
            ),
        )

    @classmethod
    def identity(cls, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """The detector's identity and the segmenter's."""
        rest = dict(args)
        segmenter = str(rest.pop("segmenter", DEFAULT_SEGMENTER))
        weights = _weights(rest.pop("segmenter_model", None), rest.pop("segmenter_revision", None))
        weights |= rest.pop("segmenter_args", None) or {}
        return {
            "detector": GroundingDino.identity(rest),
            "segmenter": {"name": segmenter, **identity_of(find_segmenter(segmenter), weights)},
        }


def _weights(model: str | None, revision: str | None) -> dict[str, Any]:
    return {name: value for name, value in (("model", model), ("revision", revision)) if value is not None}
