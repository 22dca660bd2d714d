"""Labels the images of a bucket part by part, so that the run's mirror never holds more than its limit."""

from __future__ import annotations

import logging
from contextlib import closing
from itertools import chain

from ..core.config import PipelineConfig
from ..labels.base_source import BaseSource
from ..labels.image_slices import in_slice
from ..labels.label_account import write_failures
from ..labels.label_store import LabelStore
from ..labels.labeler import LabelSummary, label_images
from ..readers.bucket_source import BucketImages, mirrored_parts
from ..system.run_folder import RunFolder
from .stages import report_labeling

_log = logging.getLogger(__name__)


def label_in_parts(
    config: PipelineConfig, run: RunFolder, source: BaseSource, bucket: BucketImages, *, progress: bool = True
) -> LabelSummary:
    """As `label_stage`, for images of a bucket of which the mirror holds at most `inputs.mirror_limit` bytes at a time:
    they are read and labeled part by part. Workers and actors build their bases anew for each part."""
    most = config.inputs.mirror_limit
    assert most is not None
    names = [one.name for one in bucket.chosen]
    source = source.with_items([(run.mirror / name, name) for name in names])
    for note in (*bucket.notes, *source.notes()):
        _log.warning("%s", note)
    options, mine = config.labeling, {name for name in names if in_slice(name, config.labeling.slice)}
    keys = LabelStore(run.labels).keys(source.provenance.fingerprint)
    stored = {name: (key.file_bytes, key.mtime_ns) for name, key in keys.items()}
    summary = LabelSummary(0, 0, ())
    asked = 0
    # The last, empty part writes the account if there is nothing to label.
    parts = mirrored_parts(bucket, run.mirror, most, stored=stored, only=mine, progress=progress)
    with closing(parts):
        for part in chain(parts, [[]]):
            asked += len(part)
            if options.max_failures is not None:
                left = config.labeling.max_failures or 0
                options = options.model_copy(update={"max_failures": max(0, left - len(summary.failures))})
            summary += label_images(
                source,
                part,
                run.labels,
                options,
                root=run.mirror,
                names=names,
                max_megapixels=config.inputs.max_megapixels,
                progress=progress,
            )
    write_failures(run.labels, summary.failures, options.slice)
    summary += LabelSummary(0, len(mine) - asked, ())
    report_labeling(summary, run)
    return summary
