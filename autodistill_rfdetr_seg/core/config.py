"""Every option of a pipeline, with its default: the only place defaults live. The CLI and the docs read them here.

`load(path)` parses a pipeline's YAML once into `PipelineConfig`; an unknown key is refused and the nearest known one
suggested. Relative paths in a file are relative to that file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import UnknownNameError, UsageError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Size = Literal["preview", "nano", "small", "medium", "large", "xlarge", "2xlarge"]
Preset = Literal["auto", "8gb", "16gb", "24gb", "40gb", "80gb"]
Logger = Literal["csv", "tensorboard", "wandb"]

# The most million pixels of an image that is opened; a little under where Pillow refuses by itself.
MAX_MEGAPIXELS = 178.0
# Instances that score above it are shown; `predict`, its files and the benchmark use it unless told otherwise.
DISPLAY_CONFIDENCE = 0.5


class Options(BaseModel):
    """Base of all option groups: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class InputsConfig(Options):
    """Which of the images: the first `limit` by name, or a seeded `sample`; of a video every n-th frame or `fps` frames
    a second (1 where neither is given), those with a changed scene preferred where `scene_changes` is set.

    An image of more than `max_megapixels` (millions) is refused: a small file may ask for all of a machine's memory.
    """

    limit: Annotated[int, Field(ge=1)] | None = None
    sample: Annotated[int, Field(ge=1)] | None = None
    seed: int = 0
    every: Annotated[int, Field(ge=1)] | None = None
    fps: Annotated[float, Field(gt=0)] | None = None
    scene_changes: bool = False
    max_megapixels: Annotated[float, Field(gt=0, allow_inf_nan=False)] = MAX_MEGAPIXELS

    @model_validator(mode="after")
    def _one_of_each(self) -> InputsConfig:
        if self.limit is not None and self.sample is not None:
            raise ValueError("limit and sample exclude each other")
        if self.every is not None and self.fps is not None:
            raise ValueError("every and fps exclude each other")
        return self


class BaseConfig(Options):
    """Which base labels: a registered name, `package.module:Class`, or a path (with a slash) to a run's folder or a
    checkpoint, whose model then labels; and its constructor's arguments.

    `segmenter` (a registered name, or `package.module:Class`) makes masks of the boxes of a base that gives none,
    or is that of a base which has one of its own.
    `tiles` cuts images larger than so many pixels into tiles that `overlap` by a share, for small objects. `stability`
    asks the base again, of a mirrored image and, where it can, with moved boxes, and keeps how much each mask agrees.
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
        """The path that `name` is written as: with a slash, or from `.` or `~`; None where it is a name or class."""
        written = ":" not in self.name and ("/" in self.name or self.name.startswith((".", "~")))
        return Path(self.name).expanduser() if written else None

    def beside(self, folder: Path) -> BaseConfig:
        """The same, a relative path to something that is there counted from `folder` and made absolute: a run's, a
        checkpoint's, or that of the Python file of a `path/to/file.py:Class`."""
        file, colon, attribute = self.name.rpartition(":")
        path = Path(file).expanduser() if colon and file.endswith(".py") else self.path
        found = None if path is None else (folder / path).resolve()
        if found is None or not found.exists():
            return self
        return self.model_copy(update={"name": f"{found}:{attribute}" if colon else str(found)})


class LabelingConfig(Options):
    """How labelling goes about it; none of this changes a label.

    `workers` are processes with a base each (0: none, this process asks), one a GPU where there are several.
    `batch_size` images are asked about at a time where the base takes batches (None: as many as it prefers).
    `timeout_per_image` (seconds) ends a base that hangs, `start_timeout` one that hangs while a worker builds it, which
    may mean to fetch its weights; `max_failures` stops early; `slice` (I, N) labels only slice I of N
    of the images.
    """

    workers: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1)] | None = None
    timeout_per_image: Annotated[float, Field(gt=0)] | None = None
    start_timeout: Annotated[float, Field(gt=0)] = 3600.0
    max_failures: Annotated[int, Field(ge=0)] | None = None
    # `share` is its name in run folders of release 0.1.0.
    slice: tuple[int, int] | None = Field(default=None, validation_alias=AliasChoices("slice", "share"))

    @model_validator(mode="after")
    def _slice_exists(self) -> LabelingConfig:
        if self.slice is not None and not 1 <= self.slice[0] <= self.slice[1]:
            raise ValueError(f"the slice {self.slice[0]}/{self.slice[1]} is not one of 1/N to N/N")
        return self


class RefineConfig(Options):
    """The rules between what the base said and what the dataset keeps. Applied at build, never at labelling.

    An area limit is in pixels, or a share of the image where it is under 1 (written `0.001`). NMS is on masks;
    `*_iom` is the intersection over the smaller mask, which catches one mask nested in another. `min_stability` takes
    away what agrees less with itself; what has no stability passes.
    """

    confidence: Share | dict[str, Share] = 0.0
    min_stability: Share | None = None
    nms_iou: Share | None = 0.6
    nms_iom: Share | None = 0.9
    agnostic_nms_iou: Share | None = 0.8
    agnostic_nms_iom: Share | None = None
    min_area: Annotated[float, Field(ge=0)] = 0
    max_area: Annotated[float, Field(gt=0)] | None = None
    island_area: Annotated[float, Field(ge=0)] = 0
    hole_area: Annotated[float, Field(ge=0)] = 0
    max_instances: Annotated[int, Field(ge=1)] | None = None


class SplitConfig(Options):
    """Shares of the splits; each image's place comes from a hash of its content, so adding images moves none.

    Copies of a file, frames of one video, and images whose perceptual hashes differ in at most `near_duplicates` of 64
    bits stay in one split (None: copies and frames only).
    """

    train: Share = 0.8
    valid: Share = 0.1
    test: Share = 0.1
    seed: int = 0
    near_duplicates: Annotated[int, Field(ge=0, le=16)] | None = 4

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitConfig:
        if abs(self.train + self.valid + self.test - 1) > 1e-6:
            raise ValueError(f"the shares of train, valid and test add up to {self.train + self.valid + self.test:g}")
        if self.train <= 0:
            raise ValueError("the share of train must be above 0")
        return self


class DatasetConfig(Options):
    """How the COCO-seg dataset is written."""

    segmentation: Literal["rle", "polygon"] = "rle"


class TargetConfig(Options):
    """The target: its size, rfdetr's model options and training options.

    `model` takes what rfdetr's model configuration takes (`resolution`, `num_queries`, `pretrain_weights` …), `train`
    what rfdetr's `TrainConfig` takes beyond the options named here. `epochs`, `batch_size` and `grad_accum_steps` are
    always explicit: rfdetr changed its own defaults between releases. `preset` chooses the last two for a GPU's memory,
    `devices` is how many of them train together, `early_stopping` ends after so many validations without a better mask
    AP, and `loggers` write beside `metrics.csv`, which is always there.
    """

    size: Size = "nano"
    epochs: Annotated[int, Field(ge=1)] = 50
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 4
    grad_accum_steps: Annotated[int, Field(ge=1)] = 4
    lr: Annotated[float, Field(gt=0)] = 1e-4
    device: str = "auto"
    devices: Annotated[int, Field(ge=1)] = 1
    preset: Preset | None = None
    early_stopping: Annotated[int, Field(ge=1, strict=True)] | None = None
    loggers: list[Logger] = Field(default_factory=list)
    seed: int = 0
    model: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)


class EvaluationConfig(Options):
    """Against what, and how, base and target are scored.

    `gold` lists what people annotated: COCO files or folders, or YOLO `data.yaml` files. Images whose content is in
    the train or valid split are left out. Those that look like an image of these splits (their perceptual hashes differ
    in at most `look_alikes` of 64 bits, twice as many for frames of a video) are named and do not count as held out:
    the scores are those without them as long as an image is left, and `all` in metrics.json has those with them. None
    asks for equal content only. Saving a photo again in another size or format changes up to 6 bits; photos of
    different scenes differ in more than 16.

    Predictions are gathered above `score_floor`, never at a display threshold. `area_from` says where an object's size
    class comes from: the file's own `area` (as pycocotools does) or the mask. `crowds` says what `iscrowd` 1 means: to
    "ignore" the region, as COCO does, or to score it like other "objects" (CVAT marks every brush mask as a crowd).
    `gates` maps a metric such as `target.mask.ap50` to the least value it must reach; the run ends with exit code 5
    where one does not, or is undefined.
    """

    gold: list[str] = Field(default_factory=list)
    look_alikes: Annotated[int, Field(ge=0, le=16)] | None = 8
    score_floor: Share = 0.01
    max_detections: Annotated[int, Field(ge=1)] = 100
    area_from: Literal["file", "mask"] = "file"
    crowds: Literal["ignore", "objects"] = "ignore"
    samples: Annotated[int, Field(ge=0)] = 12
    gates: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)


class ParityConfig(Options):
    """How well an exported model must agree with the model in torch, and on what.

    Up to `samples` images are looked at, and in them what torch scores over `confidence`. Each instance must have its
    like with the same class and a score no more than `score_difference` apart; `mask_iou` is the least mean mask IoU.
    """

    samples: Annotated[int, Field(ge=1)] = 8
    confidence: Share = 0.3
    mask_iou: Share = 0.99
    score_difference: Share = 0.01


# Half precision has 11 bits: what is left of them after some dozen layers moves edges of masks by parts of a pixel.
PARITY = {"fp32": ParityConfig(), "fp16": ParityConfig(mask_iou=0.97, score_difference=0.03)}


class BenchmarkConfig(Options):
    """What a benchmark measures, and how.

    `formats` are torch, torchscript, inductor, onnx, openvino and tensorrt (None: torch, and each of the last three
    whose package is here). `runs` calls a row count, spread over `rounds` in which the rows take turns, each turn after
    `warm_up` calls that do not count; `pause` seconds lie between two calls. Up to `images` are gone through. Instances
    over `confidence` are looked for; the score is from the evaluation's own floor.
    """

    formats: tuple[str, ...] | None = None
    precisions: tuple[Literal["fp32", "fp16", "bf16"], ...] = ("fp32",)
    device: str = "auto"
    batch_size: Annotated[int, Field(ge=1)] = 1
    images: Annotated[int, Field(ge=1)] = 8
    confidence: Share = DISPLAY_CONFIDENCE
    runs: Annotated[int, Field(ge=1)] = 100
    warm_up: Annotated[int, Field(ge=0)] = 10
    rounds: Annotated[int, Field(ge=1)] = 5
    pause: Annotated[float, Field(ge=0)] = 0.0


class PipelineConfig(Options):
    """One whole run: images in, evaluated model and report out.

    `ontology` maps prompts to classes; left out, it is what the base knows of itself: a trained model has its classes.
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
        UsageError: a key is unknown (the nearest known one is suggested) or a value is of the wrong kind.
    """
    try:
        return PipelineConfig.model_validate(data)
    except ValidationError as error:
        raise _translate(error, PipelineConfig, where) from error


def options(model: type[Any], data: Mapping[str, Any], where: str) -> Any:
    """One validated option group, such as `RefineConfig`, with the same errors as `parse`."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise _translate(error, model, where) from error


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
    """Refuses what is no share.

    Raises:
        UsageError: it is not within 0..1.
    """
    if not 0 <= confidence <= 1:
        raise UsageError(f"The confidence is {confidence:g}; it lies between 0 and 1.", "One half is 0.5, not 50.")


def check_megapixels(limit: float) -> None:
    """Refuses what is no limit of pixels.

    Raises:
        UsageError: it is not a number above 0.
    """
    if not 0 < limit < math.inf:
        raise UsageError(f"The limit of megapixels is {limit:g}; it must be above 0.", "Give a number such as 400.")


# What pydantic puts into the place of an error for a form of a value: a number, or a mapping of numbers.
_FORM = re.compile(r"constrained-\w+|\w+\[.+\]")


def _translate(error: ValidationError, model: type[BaseModel], where: str) -> UsageError:
    """pydantic's first complaint as one sentence; an unknown key gets the nearest known one."""
    # A key that is unknown is likely the misspelt form of one that is missing: it says more, so it goes first.
    complaints = error.errors()
    first = min(complaints, key=lambda one: one["type"] != "extra_forbidden")
    keys = [str(part) for part in first["loc"]]
    form = next((at for at, key in enumerate(keys) if _FORM.fullmatch(key)), None)
    if form is not None:
        # Each form that the value may have complains; the one that it has goes the deepest into it.
        same = [one for one in complaints if one["loc"][:form] == first["loc"][:form]]
        first = max(same, key=lambda one: len(one["loc"]))
        keys = [str(part) for at, part in enumerate(first["loc"]) if at != form]
    dotted = ".".join(keys)
    if first["type"] == "extra_forbidden":
        owner: Any = model
        for key in keys[:-1]:
            owner = owner.model_fields[key].annotation
        return UnknownNameError(f"option in {where}:", dotted.rpartition(".")[2], owner.model_fields)
    if first["type"] == "missing":
        return UsageError(f"The option {dotted!r} is missing from {where}.")
    message = first["msg"].removeprefix("Value error, ")
    return UsageError(f"Option {dotted!r} in {where}: {message[0].lower()}{message[1:]} (got {first.get('input')!r}).")
