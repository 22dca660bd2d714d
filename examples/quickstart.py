"""Label a folder, train a target, score it: the whole path in the Python API.

    python examples/quickstart.py IMAGES GOLD OUTPUT

IMAGES is a folder of photos, GOLD a COCO file made by people (or the folder that holds it), OUTPUT a new folder. The
base here is the embedded one, which needs no weights; `GroundedSAM(ontology=…)` takes its place on a GPU.
"""

import sys

from autodistill.detection import CaptionOntology

from autodistill_rfdetr_seg import RFDETRSegNano, ThresholdBase, evaluate_model, label


def main(images: str, gold: str, output: str, epochs: int = 50, **model_options: object) -> float | None:
    """Label, train and score; returns the target's mask AP."""
    base = ThresholdBase(ontology=CaptionOntology({"bright": "mushroom"}))
    dataset = label(base, images, f"{output}/labelled")

    target = RFDETRSegNano(**model_options)
    target.train(dataset, epochs=epochs, output=f"{output}/training")

    report = evaluate_model(target, gold, max_detections=500)
    print(f"mask AP {report.mask['ap']}, AP50 {report.mask['ap50']} on {report.images} images")
    return report.mask["ap"]


if __name__ == "__main__":
    main(*sys.argv[1:4])
