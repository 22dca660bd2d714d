"""RF-DETR Seg as autodistill targets: train on a labeled dataset, predict masks.

    target = RFDETRSegNano()
    target.train("./images_labeled/data.yaml", epochs=50)
    target.predict("image.jpg")

Nothing of rfdetr is imported before it is needed, and only `rfdetr_import.py` imports it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from autodistill.detection import DetectionTargetModel

from ..core import plug_points
from ..core.artifact_config import ExportConfig
from ..core.config import DISPLAY_CONFIDENCE, MAX_MEGAPIXELS, Logger, Preset, TargetConfig, check_confidence
from ..core.config import options as parse_options
from ..core.errors import UnknownNameError, UsageError
from ..core.types import Run, SegDataset
from ..images.rgb_image import RgbImage
from ..system.devices import resolve_device
from . import vendor
from .export.exporter import Exported, export_target
from .inference.image_predictor import ImagePredictor
from .inference.model_artifacts import TorchModel
from .training.preflight import Preflight
from .training.training_job import TrainingJob, check_preset_alone

if TYPE_CHECKING:
    import supervision as sv

_EXPORT = ExportConfig()


class RFDETRSeg(ImagePredictor, DetectionTargetModel):  # type: ignore[misc]
    """RF-DETR Seg of one size: "preview", "nano", "small", "medium", "large", "xlarge" or "2xlarge".

    `device` is "auto", "cpu", "cuda" or "cuda:N"; `model_options` are rfdetr's model options (`resolution`,
    `num_queries`, `pretrain_weights` …). The model is built on the first `train` or `predict`; rfdetr then downloads
    the published weights, unless `pretrain_weights` names a checkpoint or is None (from scratch).

    Raises:
        UnknownNameError: there is no such size or option.
        UsageError: an option's value does not fit.
    """

    _fixed_size: ClassVar[str | None] = None

    def __init__(self, size: str = "nano", *, device: str | None = None, **model_options: Any) -> None:
        if size not in vendor.SIZES:
            raise UnknownNameError("size", size, vendor.SIZES)
        if model_options:
            vendor.model_config(size, model_options)
        self.size = size
        self._device = device or TargetConfig().device
        self._options = dict(model_options)
        self._detector: Any = None
        self._checkpoint: Path | None = None
        self._predictor: TorchModel | None = None

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str], trust: bool = False, device: str | None = None) -> RFDETRSeg:
        """A target with the weights, architecture, size and class names of a checkpoint.

        Code in the file is not run; `trust=True` allows it, which only old checkpoints need.

        Raises:
            MissingInputError: there is no such file.
            TrainingError: it is not a checkpoint of an RF-DETR segmentation model, or it is damaged.
            UsageError: it is of another size than this class.
        """
        detector = vendor.load_checkpoint(Path(path), trust, device or TargetConfig().device)
        size = vendor.size_of(detector)
        if cls._fixed_size not in (None, size):
            raise UsageError(f"{path} is of size {size!r}, not {cls._fixed_size!r}.", "Use RFDETRSeg.from_checkpoint.")
        target: RFDETRSeg = _BY_SIZE[size](device=device)
        saved = detector.model_config.model_dump(exclude={"num_classes", "model_name", "device"})
        target._options = {**saved, "pretrain_weights": str(Path(path).resolve())}
        target._detector, target._checkpoint = detector, Path(path)
        return target

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of `class_id` (COCO's 80 with published weights). Builds the model if needed."""
        return tuple(self._model().class_names)

    @property
    def detector(self) -> Any:
        """rfdetr's own model, which is built if needed."""
        return self._model()

    @property
    def checkpoint(self) -> Path | None:
        """The file of the weights that predict; None without a checkpoint or a training."""
        return self._checkpoint

    def train(
        self,
        dataset: str | os.PathLike[str] | SegDataset,
        epochs: int | None = None,
        *,
        batch_size: int | Literal["auto"] | None = None,
        grad_accum_steps: int | None = None,
        preset: Preset | None = None,
        lr: float | None = None,
        seed: int | None = None,
        device: str | None = None,
        devices: int | None = None,
        nodes: int | None = None,
        early_stopping: int | None = None,
        loggers: Sequence[Logger] | None = None,
        output: str | os.PathLike[str] | None = None,
        resume: str | os.PathLike[str] | bool | None = None,
        overwrite: bool = False,
        max_megapixels: float = MAX_MEGAPIXELS,
        progress: bool = True,
        **train_options: Any,
    ) -> Run:
        """Trains on a dataset; afterwards this target predicts with the best checkpoint, by mask AP of the valid split.

        Training starts from the weights that the target was made with (published weights, a checkpoint, or none), also
        when it is called again. The same call on the same CPU gives the same weights, also after a kill and a resume.
        Arguments that are None have the default of `config.TargetConfig`. `preflight` runs first: its errors stop
        training, its warnings are logged. `evaluate_model` scores the result on a gold set.

        Args:
            dataset: a folder with a COCO file for each of train and valid, in any layout that `read_source` knows; a
                YOLO-seg `data.yaml`, as autodistill's `label()` writes it, or its folder; a run; or a `SegDataset`.
                RF-DETR reads the files that this package made of it, never the originals.
            epochs: passes over the train split.
            batch_size: images for each step and device; "auto" probes a GPU's memory.
            grad_accum_steps: steps whose gradients are added before the weights change.
            preset: "auto", "8gb", "16gb", "24gb", "40gb" or "80gb": chooses both of these for a GPU of that memory,
                with 16 images for each change of the weights. "auto" does nothing without a GPU.
            lr: learning rate of everything but the encoder (`lr_encoder` is a train option).
            seed: of weights, order and augmentation.
            device: "auto", "cpu", "cuda" or "cuda:N".
            devices: how many of them, each in a process of its own.
            nodes: on how many machines this is called; `training_nodes` says how each knows which it is. On all but the
                first nothing is checked or written, and the others' checkpoint is returned.
            early_stopping: end after N validations without a better mask AP.
            loggers: "tensorboard", "wandb"; "csv" is always there.
            output: the folder to write; `training` beside the dataset's folder by default. Training works in its
                subfolder `unfinished`.
            resume: the `last.ckpt` of an interrupted run; True for the one in `output`, or a new start without one.
            overwrite: replace an earlier run in `output`, once the new model is complete; other files stay.
            max_megapixels: refuse images larger than N megapixels.
            progress: a progress bar on stderr, where that is a terminal.
            train_options: options of rfdetr's `TrainConfig` (`num_workers`, `multi_scale`, `eval_batch_size` …).

        Returns:
            The run, also written to `output/run.json` and into the checkpoint beside it.

        Raises:
            UsageError: an option is unknown or wrong, or the output folder holds an earlier run.
            MissingInputError: there is no such dataset or checkpoint.
            DataError: the dataset's files are wrong, or another process trains in the output folder.
            DependencyError: a logger is not installed.
            TrainingError: the train or the valid split has no instance, or training failed.
        """
        options: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "grad_accum_steps": grad_accum_steps}
        options |= {"lr": lr, "seed": seed, "device": device, "devices": devices, "nodes": nodes}
        options |= {"preset": preset}
        options |= {"early_stopping": early_stopping, "loggers": None if loggers is None else list(loggers)}
        config = self._config(options, train_options)
        job = TrainingJob.from_config(config, dataset, output, max_megapixels=max_megapixels, progress=progress)
        return self.train_job(job, resume=resume, overwrite=overwrite, progress=progress)

    def train_job(
        self,
        job: TrainingJob,
        *,
        resume: str | os.PathLike[str] | bool | None = None,
        overwrite: bool = False,
        progress: bool = True,
        on_start: Callable[[Path], object] = lambda _: None,
    ) -> Run:
        """As `train`, with the arguments that `training_job` has resolved.

        `on_start` is called with the working folder when all checks have passed, before the first step.
        """
        if job.node.rank:
            run = job.join(progress)
        else:
            job.check(resume, overwrite)
            job.preflight().log_or_raise()
            run = job.run(resume, overwrite, progress, on_start)
        self._detector, self._checkpoint = vendor.load_checkpoint(run.checkpoint, False, job.device), run.checkpoint
        return run

    def preflight(
        self,
        dataset: str | os.PathLike[str] | SegDataset,
        *,
        output: str | os.PathLike[str] | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        progress: bool = True,
        **train_options: Any,
    ) -> Preflight:
        """The findings on dataset, memory and disk before `train(dataset, …)`; nothing is built or written.

        Raises as `train`, where the options are wrong or a split has no instance.
        """
        job = self.training_job(
            dataset, output=output, max_megapixels=max_megapixels, progress=progress, **train_options
        )
        return job.preflight()

    def training_job(
        self,
        dataset: str | os.PathLike[str] | SegDataset,
        *,
        output: str | os.PathLike[str] | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        progress: bool = True,
        **train_options: Any,
    ) -> TrainingJob:
        """The training that `train(dataset, …)` would do with these arguments; raises as `preflight`."""
        named = set(TargetConfig.model_fields) - {"size", "model", "train"}
        own = {name: value for name, value in train_options.items() if name in named}
        others = {name: value for name, value in train_options.items() if name not in named}
        config = self._config(own, others)
        return TrainingJob.from_config(config, dataset, output, max_megapixels=max_megapixels, progress=progress)

    def _config(self, options: Mapping[str, Any], train_options: Mapping[str, Any]) -> TargetConfig:
        check_preset_alone(options.get("preset"), options)
        named = {name: value for name, value in options.items() if value is not None}
        fixed = {"size": self.size, "model": self._options, "train": dict(train_options)}
        config: TargetConfig = parse_options(TargetConfig, {"device": self._device} | named | fixed, "train()")
        return config

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """As `predict`, for RGB HWC uint8 arrays of any sizes, in one pass of the model."""
        check_confidence(confidence)
        detector = self._model()
        if self._predictor is None or self._predictor.detector is not detector:
            self._predictor = TorchModel(detector, self._checkpoint)
        return self._predictor.predict_batch(images, confidence)

    def evaluate(self, gold: Any, **options: Any) -> Any:
        """The `Report` of this target on a gold set: `autodistill_rfdetr_seg.evaluate_model(self, gold, …)`."""
        return plug_points.load("evaluate_model")(self, gold, **options)

    def benchmark(self, images: Any = None, gold: Any = None, **options: Any) -> Any:
        """The `Benchmark` of this target: `autodistill_rfdetr_seg.benchmark(self, images, gold, …)`."""
        return plug_points.load("benchmark")(self, images, gold, **options)

    def export_for_roboflow(self, folder: str | os.PathLike[str]) -> str:
        """Writes the files for Roboflow (`weights.pt`, `class_names.txt`); returns its name of the model's size."""
        return vendor.export_for_roboflow(self._model(), Path(folder))

    def export(
        self,
        output: str | os.PathLike[str] | None = None,
        *,
        format: str = _EXPORT.format,
        precision: Literal["fp32", "fp16", "int8"] = _EXPORT.precision,
        batch_size: int | None = _EXPORT.batch_size,
        resolution: int | None = None,
        samples: str | os.PathLike[str] | None = None,
        calibration: str | os.PathLike[str] | None = None,
        bundle: bool = False,
        overwrite: bool = False,
    ) -> Exported:
        """Writes the model in another format, and checks that it finds the same instances there.

        Args:
            output: a folder, empty or new; `export/FORMAT-PRECISION` in the checkpoint's run by default.
            format: the name of a format, such as "onnx", "openvino" or "tensorrt"; `export --help` lists them all.
            precision: "fp32", or "fp16" or "int8" where the format has it. int8 needs the run of the model.
            batch_size: images that the artifact takes at once; None for any number where the format has that, else 1.
            resolution: the side of its input in pixels, the model's own by default.
            samples: an image or folder to compare on; by default the run's test or valid images, else drawn ones.
            calibration: an image or folder from which int8 learns the ranges of values; by default the run's train
                split.
            bundle: add a runner without torch (`run.py`) and golden images to check it with; ONNX only.
            overwrite: replace an earlier export in `output`.

        Raises:
            UsageError: an option is unknown or wrong, or `output` holds something.
            DependencyError: a package is missing.
            TrainingError: the conversion failed.
            GateError: the artifact finds other instances than this model, or int8 loses more accuracy than allowed; it
                is moved to `OUTPUT.failed`.
        """
        return export_target(
            self,
            None if output is None else Path(output),
            format=format,
            precision=precision,
            batch_size=batch_size,
            resolution=resolution,
            samples=None if samples is None else Path(samples),
            calibration=None if calibration is None else Path(calibration),
            bundle=bundle,
            overwrite=overwrite,
        )

    def _model(self) -> Any:
        with vendor.BUILD_LOCK:
            if self._detector is None:
                device = resolve_device(self._device)
                self._detector = vendor.build(self.size, {**self._options, "device": device})
            return self._detector


class _Sized(RFDETRSeg):
    def __init__(self, *, device: str | None = None, **model_options: Any) -> None:
        super().__init__(self._fixed_size or "nano", device=device, **model_options)


class RFDETRSegPreview(_Sized):
    """RF-DETR Seg Preview, 432 pixels; rfdetr calls it deprecated."""

    _fixed_size = "preview"


class RFDETRSegNano(_Sized):
    """RF-DETR Seg Nano, 312 pixels."""

    _fixed_size = "nano"


class RFDETRSegSmall(_Sized):
    """RF-DETR Seg Small, 384 pixels."""

    _fixed_size = "small"


class RFDETRSegMedium(_Sized):
    """RF-DETR Seg Medium, 432 pixels."""

    _fixed_size = "medium"


class RFDETRSegLarge(_Sized):
    """RF-DETR Seg Large, 504 pixels."""

    _fixed_size = "large"


class RFDETRSegXLarge(_Sized):
    """RF-DETR Seg XLarge, 624 pixels."""

    _fixed_size = "xlarge"


class RFDETRSeg2XLarge(_Sized):
    """RF-DETR Seg 2XLarge, 768 pixels."""

    _fixed_size = "2xlarge"


_BY_SIZE = {str(kind._fixed_size): kind for kind in _Sized.__subclasses__()}
