"""Label a folder, train a target, and score it with the Python API.

    python examples/quickstart.py IMAGES GOLD OUTPUT

IMAGES is a folder of photos, GOLD a COCO file with human annotations (or its folder), OUTPUT a new folder. The
base here needs no weights; with a GPU, use `GroundedSAM(ontology=…)`.
"""

import sys

from autodistill.detection import CaptionOntology

from autodistill_rfdetr_seg import RFDETRSegNano, ThresholdBase, evaluate_model, label


def main(images: str, gold: str, output: str, epochs: int = 50, **model_options: object) -> float | None:
    """Labels, trains and scores; returns the mask AP of the target."""
    base = ThresholdBase(ontology=CaptionOntology({"bright": "mushroom"}))
    dataset = label(base, images, f"{output}/labeled")

    target = RFDETRSegNano(**model_options)
    target.train(dataset, epochs=epochs, output=f"{output}/training")

    report = evaluate_model(target, gold, max_detections=500)
    print(f"mask AP {report.mask['ap']}, AP50 {report.mask['ap50']} on {report.images} images")
    return report.mask["ap"]


if __name__ == "__main__":
    main(*sys.argv[1:4])
