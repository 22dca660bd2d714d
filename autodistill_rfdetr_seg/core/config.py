"""Every option of a pipeline, with its default. Command line, Python API and documentation read the defaults here.

The options of exports and benchmarks are in `artifact_config.py`; `system/config_files.py` reads and writes the files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ByteSize, ConfigDict, Field, ValidationError, model_validator

from .bucket_urls import is_bucket_url
from .config_errors import usage_error
from .errors import UsageError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Size = Literal["preview", "nano", "small", "medium", "large", "xlarge", "2xlarge"]
Preset = Literal["auto", "8gb", "16gb", "24gb", "40gb", "80gb"]
Logger = Literal["csv", "tensorboard", "wandb"]

# Larger images are refused: a small file can take all of a machine's memory. A little under Pillow's own limit.
MAX_MEGAPIXELS = 178.0
# Instances with a higher score are shown, unless a caller gives another confidence.
DISPLAY_CONFIDENCE = 0.5
# Images that `plan` labels, and labels that `review` shows.
PLAN_IMAGES = 20
REVIEW_LABELS = 50
# Checks that `certify` draws, and the missed objects that it assumes a region to have at most, for each label and more.
CERTIFY_CHECKS = 60
MOST_MISSED = 2.0
# The fraction of right labels that `calibrate` promises.
TARGET_PRECISION = 0.95
# Students of `audit`, each trained without one of so many parts of the images.
AUDIT_FOLDS = 2
# Of a Roboflow project that `push` creates.
PROJECT_LICENSE = "Private"


class Options(BaseModel):
    """Base class of all option groups: frozen, unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class InputsConfig(Options):
    """Which images are labeled: only the first `limit` by name, or `sample` images chosen with `seed`.

    Of a video, every `every`-th frame or `fps` frames per second (1 if neither is given); `scene_changes` prefers
    frames where the scene changed. Images larger than `max_megapixels` are skipped: a small file can take all of a
    machine's memory. `mirror_limit`, such as 20GB, bounds the bytes that images of a bucket take on the disk: where
    they are only labeled, they are read part by part; else more are refused.
    """

    limit: Annotated[int, Field(ge=1)] | None = None
    sample: Annotated[int, Field(ge=1)] | None = None
    seed: int = 0
    every: Annotated[int, Field(ge=1)] | None = None
    fps: Annotated[float, Field(gt=0)] | None = None
    scene_changes: bool = False
    max_megapixels: Annotated[float, Field(gt=0, allow_inf_nan=False)] = MAX_MEGAPIXELS
    mirror_limit: Annotated[ByteSize, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> InputsConfig:
        if self.limit is not None and self.sample is not None:
            raise ValueError("limit and sample exclude each other")
        if self.every is not None and self.fps is not None:
            raise ValueError("every and fps exclude each other")
        return self


class BaseConfig(Options):
    """The base that labels, and the arguments of its constructor.

    `name` is a registered name, `package.module:Class`, or a path (with a slash) to a run's folder or a checkpoint,
    whose model then labels. `segmenter` (a registered name or `package.module:Class`) makes masks from the boxes of a
    base without masks; a base with a segmenter of its own uses this one instead.
    `tiles` cuts images larger than N pixels into tiles of N x N pixels, for small objects; `overlap` is the fraction
    of a tile's side that it shares with its neighbor. `stability` runs the base again on changed images (mirrored, or
    with moved boxes), and stores how well each mask agrees with itself.
    """

    name: str = "grounded-sam"
    args: dict[str, Any] = Field(default_factory=dict)
    segmenter: str | None = None
    segmenter_args: dict[str, Any] = Field(default_factory=dict)
    stability: bool = False
    tiles: Annotated[int, Field(ge=32)] | None = None
    overlap: Annotated[float, Field(ge=0.0, le=0.9)] = 0.2

    @property
    def path(self) -> Path | None:
        """The path in `name`: it has a slash, or starts with `.` or `~`. None for a registered name or a class."""
        written = ":" not in self.name and ("/" in self.name or self.name.startswith((".", "~")))
        return Path(self.name).expanduser() if written else None

    def beside(self, folder: Path) -> BaseConfig:
        """The same with an absolute path, if `name` is a path relative to `folder` and exists there: a run, a
        checkpoint, or the Python file of `path/to/file.py:Class`."""
        file, colon, attribute = self.name.rpartition(":")
        path = Path(file).expanduser() if colon and file.endswith(".py") else self.path
        found = None if path is None else (folder / path).resolve()
        if found is None or not found.exists():
            return self
        return self.model_copy(update={"name": f"{found}:{attribute}" if colon else str(found)})


class EngineConfig(Options):
    """Where a model works: on this machine, or in the actors of a Ray cluster. `LabelingConfig` explains the fields."""

    engine: Literal["auto", "ray"] = "auto"
    address: str | None = None
    actors: Annotated[int, Field(ge=1)] | None = None
    cpus_per_base: Annotated[int, Field(ge=1)] = 1
    placement_timeout: Annotated[float, Field(gt=0)] = 300.0
    start_timeout: Annotated[float, Field(gt=0)] = 3600.0

    @model_validator(mode="after")
    def _engine_has_its_options(self) -> EngineConfig:
        if self.engine != "ray":
            for name in ("address", "actors", "cpus_per_base"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} needs engine ray")
        return self


class LabelingConfig(EngineConfig):
    """How images are labeled; none of this changes a label.

    `workers` is the number of worker processes, each with its own base, one per GPU if there are several; 0 labels in
    this process. `batch_size` is the number of images in a batch, if the base takes batches (None: as many as the base
    prefers). `timeout_per_image` (seconds) stops a base that hangs, `start_timeout` (seconds) a worker that hangs while
    it builds its base, which may include a download. `max_failures` stops when more images have failed. `slice` (I, N)
    labels only slice I of N of the images.

    With `engine` ray the images are labeled by actors of a Ray cluster in place of worker processes. `address` is the
    cluster (`auto`, or HOST:PORT of its head); without it a Ray of its own is started on this machine. `actors` is
    their number (None: one for each GPU of the cluster, or without GPUs one for every `cpus_per_base` CPUs).
    `placement_timeout` (seconds) is how long they wait for free CPUs and GPUs before labeling gives up.
    """

    workers: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1)] | None = None
    timeout_per_image: Annotated[float, Field(gt=0)] | None = None
    max_failures: Annotated[int, Field(ge=0)] | None = None
    # `share` is its name in run folders of release 0.1.0.
    slice: tuple[int, int] | None = Field(default=None, validation_alias=AliasChoices("slice", "share"))

    @model_validator(mode="after")
    def _slice_exists(self) -> LabelingConfig:
        if self.slice is not None and not 1 <= self.slice[0] <= self.slice[1]:
            raise ValueError(f"the slice {self.slice[0]}/{self.slice[1]} is not one of 1/N to N/N")
        return self

    @model_validator(mode="after")
    def _workers_or_ray(self) -> LabelingConfig:
        if self.engine == "ray" and self.workers:
            raise ValueError("workers and engine ray exclude each other; actors is the number of actors")
        return self

    @property
    def in_this_process(self) -> bool:
        """Whether the base is built and asked in this process."""
        return self.engine == "auto" and not (self.workers or self.timeout_per_image)


class RefineConfig(Options):
    """The rules that decide which labels of the base the dataset keeps. Applied when the dataset is built.

    Labels with a score below `confidence` (one value, or one for each class) are dropped, and those with a stability
    below `min_stability`; labels without a stability pass. NMS compares masks: `*_iou` by IoU, `*_iom` by intersection
    over the smaller mask, which finds a mask nested in another; `agnostic_*` also across classes. An area is in pixels,
    or a fraction of the image if it is under 1 (such as 0.001). `island_area` removes smaller separate parts of a mask,
    `hole_area` fills holes up to this size. `max_instances` keeps only the best instances of an image.
    """

    confidence: Fraction | dict[str, Fraction] = 0.0
    min_stability: Fraction | None = None
    nms_iou: Fraction | None = 0.6
    nms_iom: Fraction | None = 0.9
    agnostic_nms_iou: Fraction | None = 0.8
    agnostic_nms_iom: Fraction | None = None
    min_area: Annotated[float, Field(ge=0)] = 0
    max_area: Annotated[float, Field(gt=0)] | None = None
    island_area: Annotated[float, Field(ge=0)] = 0
    hole_area: Annotated[float, Field(ge=0)] = 0
    max_instances: Annotated[int, Field(ge=1)] | None = None


class PredictConfig(Options):
    """How a target predicts for people: in tiles of `tiles` pixels (None: whole images) which overlap by the fraction
    `overlap`, and without duplicates: an instance whose mask overlaps a better one by more than a limit is removed. The
    limits are those of `RefineConfig`; None switches one off. An evaluation removes nothing.
    """

    tiles: Annotated[int, Field(ge=10)] | None = None
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.2
    nms_iou: Fraction | None = RefineConfig().nms_iou
    nms_iom: Fraction | None = RefineConfig().nms_iom
    agnostic_nms_iou: Fraction | None = RefineConfig().agnostic_nms_iou


class SplitConfig(Options):
    """Fractions of the splits. A hash of an image's content decides its split, so adding images moves no other.

    Copies of a file, frames of one video, and images whose perceptual hashes differ in at most `near_duplicates` of 64
    bits stay in one split (None: only copies and frames). Another `seed` gives another split.
    """

    train: Fraction = 0.8
    valid: Fraction = 0.1
    test: Fraction = 0.1
    seed: int = 0
    near_duplicates: Annotated[int, Field(ge=0, le=16)] | None = 4

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitConfig:
        if abs(self.train + self.valid + self.test - 1) > 1e-6:
            raise ValueError(
                f"the fractions of train, valid and test add up to {self.train + self.valid + self.test:g}"
            )
        if self.train <= 0:
            raise ValueError("the fraction of train must be above 0")
        return self


class DatasetConfig(Options):
    """How the COCO-seg dataset is written: masks as RLE, which is exact, or as polygons.

    `processes` is the number of processes that build it (None: one for each core, up to 12, and one alone for few
    images). It changes no byte of the dataset. With `split_json` the annotations of a split are also written in several
    files of at most that many images each, for tools that read no file of gigabytes; ids are those of the one file.
    """

    segmentation: Literal["rle", "polygon"] = "rle"
    processes: Annotated[int, Field(ge=1)] | None = None
    split_json: Annotated[int, Field(ge=1)] | None = None


class TargetConfig(Options):
    """The target: its size, and how it is trained.

    `model` takes rfdetr's model options (`resolution`, `num_queries`, `pretrain_weights` …), `train` the options of
    rfdetr's `TrainConfig` that have no field here. `epochs`, `batch_size` and `grad_accum_steps` are always passed on:
    rfdetr changed its own defaults between releases. `preset` chooses the last two for a GPU's memory, `devices` is the
    number of GPUs that train together on each of `nodes` machines, `early_stopping` ends after N validations without a
    better mask AP, and `loggers` write in addition to `metrics.csv`, which is always written.
    """

    size: Size = "nano"
    epochs: Annotated[int, Field(ge=1)] = 50
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 4
    grad_accum_steps: Annotated[int, Field(ge=1)] = 4
    lr: Annotated[float, Field(gt=0)] = 1e-4
    device: str = "auto"
    devices: Annotated[int, Field(ge=1)] = 1
    nodes: Annotated[int, Field(ge=1)] = 1
    preset: Preset | None = None
    early_stopping: Annotated[int, Field(ge=1, strict=True)] | None = None
    loggers: list[Logger] = Field(default_factory=list)
    seed: int = 0
    model: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)


class EvaluationConfig(Options):
    """What base and target are compared with, and how they are scored.

    `gold` lists human annotations: COCO files or folders, or YOLO `data.yaml` files. Images with the content of an
    image in the train or valid split are left out. Images that look like one of these (their perceptual hashes differ
    in at most `look_alikes` of 64 bits, twice as many for frames of a video) are listed and are not held out: they are
    not scored, unless no other image is left; `all` in metrics.json has the scores with them. None compares content
    only. Saving a photo again in another size or format changes up to 6 bits; photos of different scenes differ in more
    than 16.

    Predictions are collected above `score_floor`, not above a display threshold. `area_from` decides where the size
    class of an object comes from: the `area` in the file (as in pycocotools) or the mask. `crowds` decides what happens
    to annotations with `iscrowd` 1: "ignore" the region, as COCO does, or score it as "objects" (CVAT marks every brush
    mask as a crowd). With `tiles` the target predicts large images in tiles of that many pixels, which overlap by the
    fraction `overlap`. `samples` is the number of images in the report. `replicates` is the number of resampled gold
    sets that the 95% intervals come from: by default 1,000, or at least 200 if there are very many detections; 0 leaves
    the intervals out. `gates` maps a metric such as
    `target.mask.ap50` to its lowest allowed
    value (`target.mask.ap50.low` is the lower end of its interval); the run ends with exit code 5 if a metric is lower
    or undefined. `min_recovery` is the gate `recovery`.
    """

    gold: list[str] = Field(default_factory=list)
    look_alikes: Annotated[int, Field(ge=0, le=16)] | None = 8
    score_floor: Fraction = 0.01
    max_detections: Annotated[int, Field(ge=1)] = 100
    area_from: Literal["file", "mask"] = "file"
    crowds: Literal["ignore", "objects"] = "ignore"
    tiles: Annotated[int, Field(ge=10)] | None = None
    overlap: Annotated[float, Field(ge=0, le=0.9)] = PredictConfig().overlap
    samples: Annotated[int, Field(ge=0)] = 12
    replicates: Annotated[int, Field(ge=0)] | None = None
    gates: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    min_recovery: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _gold_on_disk(self) -> EvaluationConfig:
        if found := next(filter(is_bucket_url, self.gold), None):
            raise ValueError(f"the gold set {found} is in a bucket, where it is not read: download it")
        return self

    @property
    def all_gates(self) -> dict[str, float]:
        """The gates, and the one that `min_recovery` is."""
        return self.gates if self.min_recovery is None else {**self.gates, "recovery": self.min_recovery}


class PipelineConfig(Options):
    """A whole run, from images to an evaluated model and its report.

    `images` is a folder, a video, a pattern, a `.txt` list, a COCO `.json`, or the URL of a bucket's prefix
    (`s3://bucket/prefix`, `gs://bucket/prefix`); `output` is the run's folder. `ontology` maps prompts to classes; it
    may be left out if the base has classes of its own, as a trained model has.
    """

    images: str
    ontology: dict[str, str] = Field(default_factory=dict)
    output: str | None = None
    inputs: InputsConfig = Field(default_factory=InputsConfig)
    base: BaseConfig = Field(default_factory=BaseConfig)
    labeling: LabelingConfig = Field(default_factory=LabelingConfig)
    refine: RefineConfig = Field(default_factory=RefineConfig)
    split: SplitConfig = Field(default_factory=SplitConfig)
    dataset: DatasetConfig = Field(default_factory=DatasetConfig)
    target: TargetConfig = Field(default_factory=TargetConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)


def parse(data: Mapping[str, Any], where: str = "the configuration") -> PipelineConfig:
    """The validated configuration of a mapping.

    Raises:
        UsageError: a key is unknown (the nearest known one is suggested) or a value is wrong.
    """
    try:
        return PipelineConfig.model_validate(data)
    except ValidationError as error:
        raise usage_error(error, PipelineConfig, where) from error


def options(model: type[Any], data: Mapping[str, Any], where: str) -> Any:
    """One validated option group, such as `RefineConfig`, with the same errors as `parse`."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise usage_error(error, model, where) from error


def with_overrides(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `data` with dotted keys ("target.epochs": 3) set in its groups.

    Raises:
        UsageError: a key names an option of something that is not a group.
    """
    result = dict(data)
    for key, value in overrides.items():
        *groups, last = key.split(".")
        group = result
        for name in groups:
            inner = group.setdefault(name, {})
            if not isinstance(inner, Mapping):
                raise UsageError(f"Option {key!r} cannot be set: {name!r} is a value, not a group.")
            copy = dict(inner)
            group[name] = copy
            group = copy
        group[last] = value
    return result


def check_confidence(confidence: float) -> None:
    """Checks a confidence.

    Raises:
        UsageError: it is not within 0..1.
    """
    if not 0 <= confidence <= 1:
        raise UsageError(f"The confidence is {confidence:g}; it must be between 0 and 1.", "One half is 0.5, not 50.")


def check_megapixels(limit: float) -> None:
    """Checks a limit of megapixels.

    Raises:
        UsageError: it is not a number above 0.
    """
    if not 0 < limit < math.inf:
        raise UsageError(f"The limit of megapixels is {limit:g}; it must be above 0.", "Give a number such as 400.")
