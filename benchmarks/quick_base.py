"""A very cheap base that finds a color, for benchmarks of everything around a base."""

from __future__ import annotations

import cv2
import numpy as np
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import ImageColor


class Discs(DetectionBaseModel):
    """Each connected region with about the color of a prompt; larger regions score higher."""

    def __init__(self, ontology: CaptionOntology) -> None:
        self.ontology = ontology

    def predict(self, input: np.ndarray) -> sv.Detections:
        found, ids = [], []
        for at, prompt in enumerate(self.ontology.prompts()):
            color = np.array(ImageColor.getrgb(prompt)[::-1], float)
            count, parts = cv2.connectedComponents(cv2.inRange(input, color - 90, color + 90))
            found += [parts == part for part in range(1, count)]
            ids += [at] * (count - 1)
        if not found:
            return sv.Detections.empty()
        masks = np.stack(found)
        scores = np.minimum(0.9, 0.4 + masks.sum(axis=(1, 2)) / 1000)
        return sv.Detections(sv.mask_to_xyxy(masks), masks, scores, np.array(ids))
