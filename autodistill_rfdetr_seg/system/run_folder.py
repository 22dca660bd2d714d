"""The files and folders of a run: paths only.

RUN/pipeline.yaml   the resolved configuration; each stage reads its options here
RUN/labels/         raw output of the base
RUN/human/          labels that people corrected
RUN/dataset/        train/ valid/ test/
RUN/training/       checkpoint and run.json
RUN/evaluation/     metrics.json, predictions
RUN/certification/   checks of the labels, a person's answers, and the bounds
RUN/audit/          students of a part of the labels each, and what they find suspicious
RUN/report.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.bucket_urls import refuse_bucket

REVIEWS = ("csv", "json", "png", "html")


@dataclass(frozen=True)
class RunFolder:
    """The files and folders of a run; raises UsageError if that is the URL of a bucket."""

    root: Path

    def __post_init__(self) -> None:
        refuse_bucket(self.root)

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> RunFolder:
        """The run that a checkpoint is of, if it lies in the `training` folder of one."""
        return cls(checkpoint.resolve().parent.parent)

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.root / "pipeline.yaml"

    @property
    def labels(self) -> Path:
        """The label store."""
        return self.root / "labels"

    @property
    def frames(self) -> Path:
        """The frames taken from a video."""
        return self.root / "frames"

    @property
    def mirror(self) -> Path:
        """The images read from a bucket."""
        return self.root / "mirror"

    @property
    def human(self) -> Path:
        """Imported human labels; nothing in this package removes them."""
        return self.root / "human"

    @property
    def dataset(self) -> Path:
        """The COCO-seg dataset."""
        return self.root / "dataset"

    @property
    def training(self) -> Path:
        """What the target's trainer writes."""
        return self.root / "training"

    @property
    def training_record(self) -> Path:
        """The record of the training that made the checkpoint; written when the training is finished."""
        return self.training / "run.json"

    @property
    def evaluation(self) -> Path:
        """Metrics and predictions."""
        return self.root / "evaluation"

    @property
    def audit(self) -> Path:
        """The students of an audit, one folder each, and `audit.json`."""
        return self.root / "audit"

    @property
    def audit_file(self) -> Path:
        """The order of suspicions of the last audit."""
        return self.audit / "audit.json"

    @property
    def report(self) -> Path:
        """The report page."""
        return self.root / "report.html"

    @property
    def picture(self) -> Path:
        """The picture of labels and predictions."""
        return self.root / "samples.png"

    @property
    def certification(self) -> Path:
        """The checks that `certify` drew, a person's answers, and the bounds; no stage writes here."""
        return self.root / "certification"

    @property
    def written(self) -> tuple[Path, ...]:
        """The folders that stages write, and replace or remove."""
        return (self.labels, self.frames, self.mirror, self.dataset, self.training, self.evaluation, self.audit)

    def review(self, kind: str) -> Path:
        """The review order, as `csv`, `json`, `png` or `html`."""
        return self.root / f"review.{kind}"
