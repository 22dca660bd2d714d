"""Import a person's corrections into a run: they replace the labels of the base permanently.

    python examples/import_corrections.py RUN CORRECTED

CORRECTED is the COCO file of the dataset (or its folder), corrected in CVAT, Roboflow or any other editor.
"""

import sys
from pathlib import Path

from autodistill_rfdetr_seg.pipeline.stages import build_stage
from autodistill_rfdetr_seg.review.import_corrections import ImportSummary, import_labels
from autodistill_rfdetr_seg.system.config_files import read_run_config
from autodistill_rfdetr_seg.system.run_folder import RunFolder


def main(run: str, corrected: str) -> ImportSummary:
    """Imports the corrections and builds the run's dataset again; `train` and `evaluate` then use it."""
    folder = RunFolder(Path(run))
    summary = import_labels(folder, Path(corrected))
    dataset = build_stage(read_run_config(folder), folder).dataset
    print(f"{summary.imported} images changed, {summary.unchanged} unchanged; {dataset.counts}")
    for one in summary.unmatched:
        print(f"not of this run: {one.name}: {one.reason}")
    return summary


if __name__ == "__main__":
    main(*sys.argv[1:3])
