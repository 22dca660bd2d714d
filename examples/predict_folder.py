"""Find instances in a folder of images, and draw them with supervision.

python examples/predict_folder.py RUN IMAGES OUTPUT
"""

import sys
from pathlib import Path

import cv2
import supervision as sv

from autodistill_rfdetr_seg import RFDETRSeg
from autodistill_rfdetr_seg.targets import checkpoint_of


def main(run: str, images: str, output: str, confidence: float = 0.5) -> dict[str, int]:
    """Writes a picture of each image; returns the number of instances by file name."""
    target = RFDETRSeg.from_checkpoint(checkpoint_of(Path(run)))
    Path(output).mkdir(parents=True, exist_ok=True)
    counts = {}
    for found in target.predict_many(sorted(Path(images).glob("*.[jp][pn]g")), confidence):
        path = Path(found.metadata["image"])
        pixels = cv2.imread(str(path))
        names = [f"{name} {score:.2f}" for name, score in zip(found["class_name"], found.confidence, strict=True)]
        drawn = sv.LabelAnnotator().annotate(sv.MaskAnnotator().annotate(pixels.copy(), found), found, names)
        cv2.imwrite(str(Path(output) / path.name), drawn)
        counts[path.name] = len(found)
    print(f"{sum(counts.values())} instances in {len(counts)} images; pictures in {output}")
    return counts


if __name__ == "__main__":
    main(*sys.argv[1:4])
