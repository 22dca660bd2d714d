"""Labels the images of a bucket part by part, so that the run's mirror never holds more than its limit."""

from __future__ import annotations

import logging
from contextlib import closing

from ..core.config import PipelineConfig
from ..images.bucket_mirror import is_unchanged
from ..labels.base_source import BaseSource
from ..labels.image_slices import in_slice
from ..labels.labeler import LabelSummary, open_labeling
from ..readers.bucket_source import BucketImages, MirrorInParts
from ..system.object_store import StoredObject
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
    mirror = MirrorInParts(bucket, run.mirror, most)
    source = source.with_items(mirror.items)
    for note in (*mirror.notes, *source.notes()):
        _log.warning("%s", note)
    options = config.labeling
    skipped = 0
    with open_labeling(
        source, run.labels, options, max_megapixels=config.inputs.max_megapixels, progress=progress
    ) as labeling:

        def is_missing(found: StoredObject) -> bool:
            nonlocal skipped
            if not in_slice(found.name, options.slice):
                return False
            row = labeling.row_of(found.name)
            stored = row is not None and is_unchanged(found, row.file_bytes, row.mtime_ns)
            skipped += stored
            return not stored

        try:
            with closing(mirror.parts(is_missing, progress=progress)) as parts:
                for part in parts:
                    labeling.label(part)
        finally:
            # Also what was found out before an error or Ctrl-C.
            for note in mirror.changes:
                _log.warning("%s", note)
        summary = labeling.finish([name for _, name in mirror.items], run.mirror, {}, skipped=skipped)
    report_labeling(summary, run)
    return summary
