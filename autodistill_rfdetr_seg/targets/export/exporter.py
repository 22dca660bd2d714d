"""Exports a model to another format: writes it, compares it with the model in torch, and keeps it if they agree."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...core.artifact_config import PARITY, ExportConfig, ParityConfig
from ...core.bucket_urls import refuse_bucket
from ...core.config import PredictConfig
from ...core.errors import GateError, OutputExistsError, UsageError
from ...system.file_hash import file_sha256
from ...system.files import replacing_folder, write_json
from ...system.versions import PACKAGES, versions
from ..inference.class_confidence import best_confidences
from ..inference.export_record import EXPORT_FILE, read_export
from ..inference.model_artifacts import ExportedModel, TorchModel
from . import vendor_export
from .export_bundle import write_bundle
from .export_format import ExportFormat, ExportRequest
from .export_parity import Parity, compare, expected_images, find_samples
from .int8_accuracy import accuracy_failure, calibration_inputs, compare_accuracy, valid_split
from .known_formats import check_format, find_format

_DEFAULTS = ExportConfig()
_RUNTIMES = ("onnx", "onnxruntime", "onnxconverter-common", "openvino", "tensorrt")
_log = logging.getLogger(__name__)


class TorchTarget(Protocol):
    """What is exported, such as an `RFDETRSeg`: rfdetr's own model, and the file of its weights where there is one."""

    @property
    def detector(self) -> Any:
        """rfdetr's own model."""
        ...

    @property
    def checkpoint(self) -> Path | None:
        """The file of its weights."""
        ...


@dataclass(frozen=True)
class Exported:
    """An export: its folder `root`, the `artifact` in it (a file, or a package's folder), its record, and how far it
    agrees with torch: None where the format cannot be run here, so that it was not compared."""

    root: Path
    artifact: Path
    record: Mapping[str, Any]
    parity: Parity | None


def default_output(target: TorchTarget, format: str, precision: str) -> Path:
    """`export/FORMAT-PRECISION` in the checkpoint's run, or beside a checkpoint that is not in a run.

    Raises:
        UsageError: the model has no checkpoint.
    """
    if target.checkpoint is None:
        raise UsageError("This model has no checkpoint, so there is no folder to export to.", "Give an output folder.")
    folder = target.checkpoint.parent
    return (folder.parent if folder.name == "training" else folder) / "export" / f"{format}-{precision}"


def export_target(
    target: TorchTarget,
    output: Path | None,
    *,
    format: str = _DEFAULTS.format,
    precision: str = _DEFAULTS.precision,
    batch_size: int | None = _DEFAULTS.batch_size,
    resolution: int | None = None,
    samples: Path | None = None,
    calibration: Path | None = None,
    bundle: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Writes a model in another format, and keeps it if it finds what the model in torch finds.

    `batch_size` is how many images the artifact takes at once; None for any number, where the format has that. int8
    needs a run: it learns the ranges of values from `calibration`, an image or folder, by default the train split, and
    must reach the mask AP of fp32 on the valid split but for `ExportConfig.largest_ap_loss`.

    The folder appears complete or not at all. An export that fails the comparison goes to `OUTPUT.failed`, and an
    earlier export in `output` stays.

    Raises:
        UnknownNameError: there is no such format.
        UsageError: an option does not fit, or `output` holds something.
        DependencyError: a package is missing.
        MissingInputError, DataError: the samples are missing or wrong.
        TrainingError: the conversion failed.
        GateError: the artifact finds something else than the model in torch, or int8 loses too much accuracy.
    """
    export_format = check_format(format, precision)
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"The batch size is {batch_size}; it must be 1 or more.")
    if calibration is not None and precision != "int8":
        raise UsageError(f"Calibration images are for int8, not for {precision}.", "Leave --calibration out.")
    if bundle and export_format.name != "onnx":
        raise UsageError(f"A bundle runs in onnxruntime, and {export_format.name} does not.", "Use --format onnx.")
    folder = output or default_output(target, export_format.name, precision)
    _check_output(folder, overwrite)
    reference = TorchModel(target.detector, target.checkpoint, resolution)
    bounds = PARITY[precision]
    images = find_samples(samples, target.checkpoint, bounds.samples)
    images_at_once = batch_size or (0 if export_format.dynamic_batch else 1)
    spec = spec_of(reference, images_at_once, None if batch_size else export_format.most_images)
    request = ExportRequest(precision, reference.input_size, images_at_once, spec["most_images"])
    valid = None
    if precision == "int8":
        valid = valid_split(target.checkpoint)
        inputs = calibration_inputs(calibration, target.checkpoint, spec)
        request = dataclasses.replace(request, calibration=inputs)
    expected = expected_images(reference, images, bounds)
    with replacing_folder(folder) as temporary:
        written = vendor_export.write(export_format, reference.detector, temporary, request)
        record = _record(reference, temporary, written, export_format, precision, spec)
        write_json(temporary / EXPORT_FILE, record)
        parity = None
        if export_format.open_session is not None:
            artifact = ExportedModel(temporary, export_format.exact_device)
            parity = compare(expected, artifact, images, bounds)
            if valid is not None and parity.passed:
                record["accuracy"] = compare_accuracy(reference, artifact, valid)
        else:
            _log.warning("%s was not compared with torch: this package cannot run it", export_format.name)
        record["parity"] = None if parity is None else parity.as_json()
        write_json(temporary / EXPORT_FILE, record)
        if parity is not None and not parity.passed:
            raise _failure(parity, _set_aside(temporary, folder))
        if record["accuracy"] is not None and not record["accuracy"]["passed"]:
            raise accuracy_failure(record["accuracy"], _set_aside(temporary, folder))
        if bundle:
            write_bundle(temporary, record["model"], expected, images, bounds)
    return Exported(folder, folder / record["artifact"], record, parity)


def spec_of(reference: TorchModel, batch_size: int, most_images: int | None) -> dict[str, Any]:
    """What a runner must know of the model, with the confidences of its last evaluation; JSON-ready."""
    checkpoint = reference.path if reference.path.is_file() else None
    return vendor_export.spec_of(reference.detector, reference.input_size, batch_size) | {
        "most_images": most_images,
        "best_confidence": best_confidences(checkpoint),
        "duplicates": PredictConfig().model_dump(include={"nms_iou", "nms_iom", "agnostic_nms_iou"}),
    }


def check_export(target: TorchTarget, folder: Path, samples: Path | None = None) -> Parity:
    """Compares an existing export with the model in torch.

    Raises:
        MissingInputError, DataError: the export or the samples are missing or damaged.
        DependencyError, UsageError: there is nothing to run it with.
        UsageError: it has other classes than the model.
        GateError: it finds something else than the model in torch.
    """
    record = read_export(folder)
    reference = TorchModel(target.detector, target.checkpoint, record["model"]["input_size"])
    if tuple(record["model"]["class_names"]) != reference.class_names:
        raise UsageError(f"{folder} has other classes than the model: it is not an export of it.")
    bounds: ParityConfig = PARITY[record["precision"]]
    images = find_samples(samples, target.checkpoint, bounds.samples)
    artifact = ExportedModel(folder, find_format(record["format"]).exact_device)
    parity = compare(expected_images(reference, images, bounds), artifact, images, bounds)
    if not parity.passed:
        raise _failure(parity, None)
    return parity


def _check_output(folder: Path, overwrite: bool) -> None:
    refuse_bucket(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"The output {folder} is a file, not a folder.", "Give another --output.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise OutputExistsError(
            f"The output folder {folder} is not empty.", "Add --overwrite, or give another --output."
        )
    # The whole folder is replaced, so it must be an export.
    if not (folder / EXPORT_FILE).is_file():
        raise OutputExistsError(
            f"The output folder {folder} holds files that are not an export, so it is not overwritten.",
            "Give another --output.",
        )


def _record(
    reference: TorchModel,
    folder: Path,
    written: Path,
    export_format: ExportFormat,
    precision: str,
    spec: Mapping[str, Any],
) -> dict[str, Any]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    checkpoint = reference.path if reference.path.is_file() else None
    return {
        "format": export_format.name,
        "precision": precision,
        "artifact": written.relative_to(folder).as_posix(),
        "files": {path.relative_to(folder).as_posix(): file_sha256(path) for path in files},
        "opset": vendor_export.OPSET if export_format.through_onnx else None,
        "checkpoint": checkpoint.name if checkpoint else None,
        "checkpoint_sha256": file_sha256(checkpoint) if checkpoint else None,
        "model": dict(spec),
        "accuracy": None,
        "versions": versions(PACKAGES + _RUNTIMES),
    }


def _set_aside(temporary: Path, folder: Path) -> Path:
    failed = folder.with_name(f"{folder.name}.failed")
    shutil.rmtree(failed, ignore_errors=True)
    temporary.rename(failed)
    return failed


def _failure(parity: Parity, failed: Path | None) -> GateError:
    bounds = parity.bounds
    hint = f"It must agree to a mean mask IoU of {bounds.mask_iou:g}, and scores to {bounds.score_difference:g}."
    if failed is not None:
        hint += f" The export is kept in {failed}; its {EXPORT_FILE} lists all differences."
    return GateError(f"The export does not find what the model finds: {parity.sentence()}.", hint)
