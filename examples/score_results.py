"""Score a COCO results file of any model against masks drawn by people.

    python examples/score_results.py GOLD RESULTS

GOLD is a COCO file (or a folder with `_annotations.coco.json`); RESULTS a list of
`{"image_id", "category_id", "segmentation", "score"}`, as pycocotools reads it.
"""

import sys
from pathlib import Path

from autodistill_rfdetr_seg import Report, evaluate, read_coco
from autodistill_rfdetr_seg.coco import read_results


def main(gold: str, results: str) -> Report:
    """The report: mask and box AP, each class, and the threshold with the best F1."""
    truth = read_coco(gold)
    report = evaluate(truth, read_results(Path(results), truth))
    print(f"mask AP {report.mask['ap']:.3f}, AP50 {report.mask['ap50']:.3f}, box AP {report.box['ap']:.3f}")
    for name, row in report.per_class.items():
        print(f"{name}: AP {row['ap']}, best at {row['best_confidence']}: F1 {row['best_f1']}")
    for note in report.notes:
        print(f"note: {note}")
    return report


if __name__ == "__main__":
    main(*sys.argv[1:3])
