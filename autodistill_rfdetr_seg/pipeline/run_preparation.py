"""Before a run: its inputs are checked, its folder is claimed, and its configuration is saved."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..bases.registry import BASES
from ..core.bucket_urls import is_bucket_url
from ..core.config import PipelineConfig
from ..core.errors import MissingInputError, OutputExistsError, UsageError
from ..core.types import Classes
from ..engine.image_actors import check_cluster
from ..evaluation.gold_sets import check_gate_names
from ..images.frame_files import VIDEO_SUFFIXES
from ..labels.base_source import BaseSource, source_of
from ..labels.current_labels import refuse_lost_classes
from ..readers.bucket_source import BucketImages, mirror_images
from ..readers.image_sources import Inputs
from ..review.label_preview import seeded_sample
from ..system.config_files import changed_options, save_run_config
from ..system.files import check_output
from ..system.locks import LOCK, in_turn, locked
from ..system.run_folder import REVIEWS, RunFolder
from .stages import find_run_images, list_run_bucket

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRun:
    """A run whose folder is claimed: its configuration, folder, base, and images.

    `found` is None for a video and a bucket: their images are written into the folder, which is not ours before.
    `bucket` are the images of a bucket, listed.
    """

    config: PipelineConfig
    folder: RunFolder
    source: BaseSource
    found: Inputs | None
    bucket: BucketImages | None = None

    def images(self, *, sample: int | None = None, progress: bool = True) -> Inputs:
        """The images to label. What is to be known about them is logged.

        With `sample`, only so many images of a bucket are read, those of `seeded_sample`.
        """
        if self.bucket is not None:
            names = [(Path(one.name), one.name) for one in self.bucket.chosen]
            only = None if sample is None else {name for _, name in seeded_sample(names, sample)}
            images = mirror_images(self.bucket, self.folder.mirror, only=only, progress=progress)
        else:
            images = self.found or find_run_images(self.config, self.folder, progress=progress)
        for note in images.notes:
            _log.warning("%s", note)
        return images


@contextlib.contextmanager
def prepare_run(
    config: PipelineConfig,
    run: RunFolder,
    source: BaseSource | None = None,
    *,
    resume: bool,
    overwrite: bool,
    labels_only: bool = False,
    progress: bool = True,
) -> Iterator[PreparedRun]:
    """Checks all inputs, claims the run's folder and saves the configuration in it. Within the block, no other process
    may write labels to the run (except other slices).

    Nothing is written before all checks have passed. `source` is the base that the configuration names if left out. It
    is built here, unless the run is resumed, which may not need it, or worker processes build their own. A slice joins
    a run that another slice has started with the same options. With `labels_only` the images of a bucket may have more
    bytes than the mirror.

    Raises:
        MissingInputError: there are no images, or a gold set is not there.
        RemoteError: the bucket cannot be listed.
        OutputExistsError: the folder is not empty, and neither `resume` nor `overwrite` is set; or this is a slice of
            a run with other options.
        UsageError: the output is inside the images' folder, would replace the images, or contains the base's model; the
            base does not take its arguments or prompts; a slice is to overwrite; or a gate names no metric.
        DataError: a person's labels in the run have a class that the ontology lacks; or another process writes to the
            run.
    """
    source = source or source_of(config)
    bucket = list_run_bucket(config, labels_only, progress=progress) if is_bucket_url(config.images) else None
    found = _check_images(config, run, progress) if bucket is None else None
    _refuse_own_base(config, run.root.resolve())
    for gold in config.evaluation.gold:
        if not Path(gold).exists():
            raise MissingInputError(f"There is no gold set {gold}.", "Give a COCO file, or a folder that contains one.")
    classes = Classes.from_ontology(config.ontology)
    check_gate_names(config, classes)
    _check_claim(config, run, resume=resume, overwrite=overwrite)
    refuse_lost_classes(run.human, classes)
    if overwrite and run.labels.is_dir():
        # Refused before the base is built: that may take long, or find no memory next to another process.
        with locked(run.labels):
            pass
    from_start = overwrite or not (resume or run.config_file.is_file())
    source = source.with_model() if config.labeling.in_this_process and from_start else source
    if config.labeling.engine == "ray":
        check_cluster(config.labeling)
    with _claimed(config, run, resume=resume, overwrite=overwrite):
        yield PreparedRun(config, run, source, found, bucket)


def _check_images(config: PipelineConfig, run: RunFolder, progress: bool) -> Inputs | None:
    """The images, except the frames of a video. Refuses an output folder that would change the user's files."""
    images, root = Path(config.images).resolve(), run.root.resolve()
    is_video = images.is_file() and images.suffix.lower() in VIDEO_SUFFIXES
    found = None if is_video else find_run_images(config, run, progress=progress)
    for theirs in (images, *(link.resolve() for link in (found.linked_folders if found else ()))):
        if theirs.is_dir() and root.is_relative_to(theirs):
            raise UsageError(
                f"The output {root} is inside the images' folder {theirs}.",
                "Your folder is never written to: choose another output folder.",
            )
        for ours in run.written:
            if theirs.is_relative_to(ours.resolve()):
                raise UsageError(
                    f"The images {theirs} are inside {ours}, which the run would replace.",
                    "Your folder is never written to: choose another --output.",
                )
    return found


def _refuse_own_base(config: PipelineConfig, root: Path) -> None:
    """A run that labels with the model in its own folder would delete the model."""
    if config.base.name in BASES or config.base.path is None:
        return
    model = config.base.path.resolve()
    if model.is_relative_to(root):
        raise UsageError(
            f"The base {config.base.name} is inside the output folder {root}, where the new model will be.",
            "Give the next round another --output.",
        )


def _check_claim(config: PipelineConfig, run: RunFolder, *, resume: bool, overwrite: bool) -> None:
    if config.labeling.slice is None:
        check_output(run.root, resume=resume, overwrite=overwrite)
    elif overwrite:
        raise UsageError(
            "A slice cannot overwrite the run (--overwrite with --slice): it would remove the labels of other slices.",
            "Give all slices a new --output.",
        )
    elif not (resume or _is_shared(run)):
        try:
            check_output(run.root, resume=False, overwrite=False)
        except OutputExistsError as error:
            raise OutputExistsError(
                error.message, "Give all slices the same --output: a new folder, or a run's."
            ) from error


def _is_shared(run: RunFolder) -> bool:
    """Whether this is a run, or another slice is creating it now: then there are only locks and temporary files."""
    if run.config_file.is_file() or not run.root.exists():
        return True
    if not run.root.is_dir():
        return False
    inside = [*run.root.iterdir(), *(run.labels.iterdir() if run.labels.is_dir() else ())]
    return all(path == run.labels or path.name.startswith(".") for path in inside)


@contextlib.contextmanager
def _claimed(config: PipelineConfig, run: RunFolder, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Holds the lock of the run's labels; clears the run if `overwrite` is set; saves the configuration."""
    image_slice = config.labeling.slice
    config = config.model_copy(update={"base": config.base.beside(Path.cwd())})
    _check_claim(config, run, resume=resume, overwrite=overwrite)
    with contextlib.ExitStack() as stack:
        # Slices that start at the same time: the first one's options are saved before the next one compares its own.
        with contextlib.nullcontext() if image_slice is None else in_turn(run.labels):
            alone = stack.enter_context(locked(run.labels, image_slice, lend=True))
            if overwrite:
                clear_run(run)
            changed = changed_options(run, config) if image_slice is not None and run.config_file.is_file() else []
            if changed and not (resume and alone):
                raise OutputExistsError(
                    f"The run {run.root} has other options than this slice: {', '.join(changed)}.",
                    "Give all slices the same options. --resume takes the new ones if no other slice is running.",
                )
            if image_slice is None or changed or not run.config_file.is_file():
                save_run_config(run, config)
        yield


def clear_run(run: RunFolder) -> None:
    """Removes what stages wrote, and nothing else: neither imported human labels nor the user's own files.

    The caller holds the lock of the labels, which stays.

    Raises:
        DataError: another process builds the dataset, or labels gold images.
    """
    with contextlib.ExitStack() as stack:
        for folder in (run.root, run.evaluation / "labels"):
            if folder.is_dir():
                stack.enter_context(locked(folder))
        for path in run.labels.iterdir() if run.labels.is_dir() else ():
            if not path.name.startswith(LOCK):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        for folder in run.written:
            if folder != run.labels:
                shutil.rmtree(folder, ignore_errors=True)
        reviews = [run.review(kind) for kind in REVIEWS]
        for file in (run.config_file, run.report, run.picture, *reviews):
            file.unlink(missing_ok=True)
