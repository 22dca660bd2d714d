"""Label with a base of your own: any autodistill `DetectionBaseModel` will do.

python examples/own_base.py IMAGES OUTPUT
"""

import sys
from dataclasses import dataclass

import cv2
import numpy as np
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel

from autodistill_rfdetr_seg import SegDataset, label


@dataclass
class BrightBlobs(DetectionBaseModel):
    """Every connected bright patch is one object. Put your own model here."""

    ontology: CaptionOntology
    level: int = 128

    def predict(self, input: np.ndarray) -> sv.Detections:
        """`input` is an HWC uint8 BGR array; `class_id` is the index of the prompt that was found."""
        bright = (cv2.cvtColor(input, cv2.COLOR_BGR2GRAY) > self.level).astype(np.uint8)
        count, patches = cv2.connectedComponents(bright)
        if count == 1:
            return sv.Detections.empty()
        masks = np.stack([patches == number for number in range(1, count)])
        return sv.Detections(
            xyxy=sv.mask_to_xyxy(masks).astype(float),
            mask=masks,
            confidence=np.full(len(masks), 0.9),
            class_id=np.zeros(len(masks), dtype=int),
        )


def main(images: str, output: str) -> SegDataset:
    """Labels the folder; on the command line `--base examples/own_base.py:BrightBlobs --class blob` does the same."""
    dataset = label(BrightBlobs(CaptionOntology({"blob": "blob"})), images, output)
    print(f"{dataset.counts} in {dataset.root}")
    return dataset


if __name__ == "__main__":
    main(*sys.argv[1:3])
