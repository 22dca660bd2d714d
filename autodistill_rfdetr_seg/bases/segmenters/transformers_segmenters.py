"""The segmenters by name: SAM, SAM-HQ and SAM 2, each a class of transformers and where its weights are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .box_segmenter import BoxSegmenter, Encoded


class Sam(BoxSegmenter):
    """Segment Anything; its largest image encoder unless another is given (`facebook/sam-vit-base`, `-large`)."""

    default_model = "facebook/sam-vit-huge"
    _model_class, _processor_class = "SamModel", "SamProcessor"
    _kinds = ("sam",)


class SamHq(BoxSegmenter):
    """SAM-HQ: SAM with a head for finer edges (`syscv-community/sam-hq-vit-base` … `-huge`)."""

    default_model = "syscv-community/sam-hq-vit-huge"
    _model_class, _processor_class = "SamHQModel", "SamHQProcessor"
    _kinds = ("sam_hq",)

    def _features(self, pixels: Any) -> tuple[Any, ...]:
        image, levels = self._model.get_image_embeddings(pixels)
        # Of the encoder's inner levels the decoder reads the first alone; all of them are 84 MB an image.
        return image, levels[0]

    def _embeddings(self, features: Sequence[Any]) -> dict[str, Any]:
        return {"image_embeddings": features[0], "intermediate_embeddings": [features[1]]}


class Sam2(BoxSegmenter):
    """SAM 2: a much smaller encoder than SAM's (`facebook/sam2.1-hiera-tiny` … `-large`)."""

    default_model = "facebook/sam2.1-hiera-base-plus"
    _model_class, _processor_class = "Sam2Model", "Sam2Processor"
    # The published weights are the video model's, of which the image model is a part.
    _kinds = ("sam2", "sam2_video")

    def _features(self, pixels: Any) -> tuple[Any, ...]:
        return tuple(self._model.get_image_embeddings(pixels))

    def _embeddings(self, features: Sequence[Any]) -> dict[str, Any]:
        return {"image_embeddings": list(features)}

    def _upsampled(self, logits: Any, of: Encoded) -> Any:
        return self._processor.post_process_masks([logits], [of.size])[0]
