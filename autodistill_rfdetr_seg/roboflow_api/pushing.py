"""Uploads a run's dataset to a Roboflow project: each image once, with its masks as polygons."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import coco
from ..core.config import PROJECT_LICENSE
from ..core.errors import AutodistillSegError, RemoteError
from ..core.types import SPLITS, Classes, TruthImage
from ..dataset.dataset_index import read_dataset
from ..system.file_hash import file_sha256
from ..system.files import fingerprint
from . import calls, keys, sdk
from .push_record import PushRecord

WORKERS = 8  # the SDK itself uses 10, its documentation says at most 25
TYPE = "instance-segmentation"
_ANNOTATION = "annotation.coco.json"

_log = logging.getLogger(__name__)


@dataclass
class Pushed:
    """What a push sent, or (`dry_run`) would send.

    `images` are those of the dataset, each in one of `uploaded`, `duplicates` (the server had them), `skipped` (sent
    before, or a failure further on) and `failures` (file name → reason). `kept` are those whose annotation in the
    project was left as it is; `simplified` counts masks whose holes or parts no polygon can hold.
    """

    dry_run: bool
    project: str
    images: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    instances: int = 0
    simplified: int = 0
    uploaded: int = 0
    duplicates: int = 0
    skipped: int = 0
    annotated: int = 0
    kept: int = 0
    bytes: int = 0
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PushOptions:
    """How images are added to the project; without `split_from_run` all go to train, and Roboflow may split them."""

    tags: Sequence[str] = ()
    batch: str | None = None
    split_from_run: bool = False
    overwrite: bool = False
    create: bool = False
    license: str = PROJECT_LICENSE


def push(
    root: Path, workspace: str, project: str, options: PushOptions, *, dry_run: bool = False, progress: bool = True
) -> Pushed:
    """Uploads the dataset of the run in `root`: its images, and their masks as one COCO file each.

    What `root`/roboflow.json remembers is not sent again, and an image that the project has already is annotated only
    where it is not. An image that fails is listed with the reason, and the rest is sent.

    Raises:
        DataError: the run has no dataset.
        RemoteError: there is no such project, the key is refused, or the server fails before any image.
        UsageError: no key, or a project of another type.
    """
    dataset = read_dataset(root / "dataset")
    images = [
        (split, image)
        for split in SPLITS
        if (root / "dataset" / split / coco.ANNOTATIONS).is_file()
        for image in coco.align(coco.read(root / "dataset" / split), dataset.classes).images
    ]
    if dry_run:
        result = Pushed(True, f"{workspace}/{project}")
        _Push(result, dataset.classes, options, PushRecord(root, workspace, project), None).all(images, progress)
        return result
    with sdk.contained():
        name = _project(workspace, project, options)
        result, memory = Pushed(False, f"{workspace}/{name}"), PushRecord(root, workspace, name)
        try:
            _Push(result, dataset.classes, options, memory, name).all(images, progress)
        finally:
            memory.save()
    return result


def _project(workspace: str, project: str, options: PushOptions) -> str:
    """The name of the project in URLs; the project is created if it is missing and `create` is set."""
    try:
        sdk.read_project(workspace, project)
        return project
    except RemoteError as error:
        if error.status != 404:
            raise
        if not options.create:
            hint = "Check both names in the URL of the project's page; --create makes the project."
            raise RemoteError(error.message, hint, status=404) from None
    from roboflow.adapters import rfapi
    from roboflow.core.workspace import Workspace

    failed = f"The project {workspace}/{project} could not be created"
    place = Workspace(
        calls.call_server(failed, rfapi.get_workspace, keys.key(), workspace), keys.key(), workspace, "coco"
    )
    made: Any = calls.call_server(
        failed, place.create_project, project, TYPE, options.license, annotation=project, repeatable=False
    )
    name = str(made.id).rpartition("/")[2]
    _log.info("created the project %s/%s (%s, license %s)", workspace, name, TYPE, options.license)
    return name


@dataclass
class _Push:
    result: Pushed
    classes: Classes
    options: PushOptions
    memory: PushRecord
    project: str | None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._refused: RemoteError | None = None

    def all(self, images: Sequence[tuple[str, TruthImage]], progress: bool) -> None:
        """Uploads every image, several at a time."""
        from tqdm import tqdm

        with (
            ThreadPoolExecutor(WORKERS if self.project else 1) as pool,
            tqdm(total=len(images), desc="Uploading", unit="image", disable=not progress or not self.project) as bar,
        ):
            try:
                for _ in pool.map(lambda one: self._try(*one), images):
                    bar.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if self._refused is not None:
            raise self._refused

    def _try(self, split: str, image: TruthImage) -> None:
        if self._refused is not None:
            return
        with self._lock:
            self.result.images[split] += 1
        try:
            self._one(split, image)
        except AutodistillSegError as error:
            # A key that is refused for one image is refused for all.
            if isinstance(error, RemoteError) and error.status in (401, 403):
                self._refused = error
            with self._lock:
                self.result.failures[f"{split}/{image.path.name}"] = error.message
            _log.warning("%s", error)

    def _one(self, split: str, image: TruthImage) -> None:
        content, simplified = coco.image_file(image, self.classes, image.path.name)
        digest, sha256 = fingerprint(content), file_sha256(image.path)
        known = self.memory.image(sha256)
        to_annotate = self.options.overwrite or known.get("annotation") != digest
        self._count(instances=len(image.instances), simplified=simplified)
        if not known:
            self._count(bytes=image.path.stat().st_size)
        if self.project is None:
            self._count(uploaded=not known, skipped=bool(known), annotated=to_annotate)
            return
        if known:
            self._count(skipped=1)
            image_id = str(known["id"])
        else:
            image_id = self._upload(split if self.options.split_from_run else "train", image, sha256)
        if to_annotate:
            ours = self._annotate(image_id, image, content)
            self.memory.set_image(sha256, image_id, digest if ours else None)

    def _upload(self, split: str, image: TruthImage, sha256: str) -> str:
        from roboflow.adapters import rfapi

        answer: Any = calls.call_server(
            f"The image {image.path.name} could not be uploaded",
            rfapi.upload_image,
            keys.key(),
            self.project,
            str(image.path),
            split=split,
            batch_name=self.options.batch,
            tag_names=list(self.options.tags),
        )
        if not answer.get("id"):
            raise RemoteError(f"The image {image.path.name} was uploaded, but the server returned no id.")
        duplicate = bool(answer.get("duplicate"))
        self._count(duplicates=duplicate, uploaded=not duplicate)
        self.memory.set_image(sha256, str(answer["id"]), None)
        return str(answer["id"])

    def _annotate(self, image_id: str, image: TruthImage, content: dict[str, Any]) -> bool:
        """Saves the annotation; False if the project already has one, which was left unchanged."""
        from roboflow.adapters import rfapi

        answer: Any = calls.call_server(
            f"The annotation of {image.path.name} could not be saved",
            rfapi.save_annotation,
            keys.key(),
            self.project,
            _ANNOTATION,
            json.dumps(content),
            quote(image_id, safe=""),
            # The SDK puts it into the URL unchanged.
            job_name=quote(self.options.batch or "", safe=""),
            overwrite=self.options.overwrite,
        )
        # People's work in the project, or an earlier push: it stays unless --overwrite is given.
        kept = answer.get("warn") == "already annotated"
        self._count(kept=kept, annotated=not kept)
        return not kept

    def _count(self, **more: int) -> None:
        with self._lock:
            for name, number in more.items():
                setattr(self.result, name, getattr(self.result, name) + int(number))
