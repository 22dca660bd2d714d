"""The results of a push and of a training as text for the terminal."""

from __future__ import annotations

from .cloud import Trained
from .pushing import Pushed


def pushed_text(result: Pushed) -> str:
    """A push in a few lines."""
    splits = ", ".join(f"{count} {split}" for split, count in result.images.items() if count)
    does = ("would be uploaded", "would be annotated") if result.dry_run else ("uploaded", "annotated")
    lines = [
        f"{result.project}: {sum(result.images.values())} images ({splits or 'none'}), {result.instances} masks",
        f"{does[0]}  {result.uploaded} images, {result.bytes / 1e6:.1f} MB; {does[1]} {result.annotated}; "
        f"sent earlier {result.skipped}; already there {result.duplicates}",
    ]
    if result.kept:
        lines.append(f"already annotated there, left unchanged: {result.kept} (--overwrite replaces them)")
    if result.simplified:
        lines.append(f"simplified  {result.simplified} masks: a polygon has one part and no holes")
    lines += [f"failed  {name}: {reason}" for name, reason in result.failures.items()]
    return "\n".join(lines)


def trained_text(training: Trained) -> str:
    """A training in a few lines."""
    lines = [f"version {training.version} of {training.workspace}/{training.project}: {training.status}"]
    lines += [f"model  {one['model_id']}  {_metrics(one['metrics'])}".rstrip() for one in training.models]
    if training.training_id:
        lines.append(f"training  {training.training_id}")
    return "\n".join(lines)


def _metrics(metrics: object) -> str:
    if not isinstance(metrics, dict):
        return ""
    return ", ".join(f"{name} {value}" for name, value in metrics.items() if isinstance(value, int | float))
