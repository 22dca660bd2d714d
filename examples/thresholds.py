"""Label once, then build datasets with other thresholds, without running the base again.

python examples/thresholds.py IMAGES OUTPUT
"""

import sys

from autodistill.detection import CaptionOntology

from autodistill_rfdetr_seg import SegDataset, ThresholdBase, label


def main(images: str, output: str) -> list[SegDataset]:
    """The dataset with all labels of the base, and again with thresholds; the second call labels nothing."""
    base = ThresholdBase(ontology=CaptionOntology({"red": "washer", "green": "bolt"}))
    everything = label(base, images, output)

    rules = {"confidence": {"washer": 0.6, "bolt": 0.3}, "min_area": 40}
    decided = label(base, images, output, resume=True, refine=rules)

    for name, dataset in (("everything", everything), ("decided", decided)):
        print(name, sum(count["instances"] for count in dataset.counts.values()), "instances")
    return [everything, decided]


if __name__ == "__main__":
    main(*sys.argv[1:3])
