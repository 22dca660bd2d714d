"""Label the next folder with a trained model. `pipelines/self_training.py` repeats this and scores each round.

python examples/next_round.py RUN IMAGES OUTPUT
"""

import sys
from pathlib import Path

from autodistill_rfdetr_seg import SegDataset, label
from autodistill_rfdetr_seg.core.config import BaseConfig


def main(run: str, images: str, output: str, confidence: float = 0.6, stability: float = 0.7) -> SegDataset:
    """Labels with the run's model and classes; keeps labels with a high score and a high stability."""
    base = BaseConfig(name=str(Path(run).resolve()), stability=True)
    rules = {"confidence": confidence, "min_stability": stability}
    dataset = label(base, images, output, refine=rules, split={"train": 1, "valid": 0, "test": 0})
    print(f"{dataset.counts} of {', '.join(dataset.classes.names)} in {dataset.root}")
    return dataset


if __name__ == "__main__":
    main(*sys.argv[1:4])
