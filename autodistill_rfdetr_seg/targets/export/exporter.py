"""Exports a model to another format: writes it, compares it with the model in torch, and keeps it if they agree."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...core.artifact_config import PARITY, ExportConfig, ParityConfig
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
from .export_format import ExportFormat
from .export_parity import Parity, compare, expected_images, find_samples
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
    batch_size: int = _DEFAULTS.batch_size,
    resolution: int | None = None,
    samples: Path | None = None,
    bundle: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Writes a model in another format, and keeps it if it finds what the model in torch finds.

    The folder appears complete or not at all. An export that fails the comparison goes to `OUTPUT.failed`, and an
    earlier export in `output` stays.

    Raises:
        UnknownNameError: there is no such format.
        UsageError: an option does not fit, or `output` holds something.
        DependencyError: a package is missing.
        MissingInputError, DataError: the samples are missing or wrong.
        TrainingError: the conversion failed.
        GateError: the artifact finds something else than the model in torch.
    """
    export_format = check_format(format, precision)
    if batch_size < 1:
        raise UsageError(f"The batch size is {batch_size}; it must be 1 or more.")
    if bundle and export_format.name != "onnx":
        raise UsageError(f"A bundle runs in onnxruntime, and {export_format.name} does not.", "Use --format onnx.")
    folder = output or default_output(target, export_format.name, precision)
    _check_output(folder, overwrite)
    reference = TorchModel(target.detector, target.checkpoint, resolution)
    bounds = PARITY[precision]
    images = find_samples(samples, target.checkpoint, bounds.samples)
    expected = expected_images(reference, images, bounds)
    with replacing_folder(folder) as temporary:
        written = vendor_export.write(
            export_format, reference.detector, temporary, precision, batch_size, reference.input_size
        )
        record = _record(reference, temporary, written, export_format, precision, batch_size)
        write_json(temporary / EXPORT_FILE, record)
        parity = None
        if export_format.open_session is not None:
            parity = compare(expected, ExportedModel(temporary, export_format.exact_device), images, bounds)
        else:
            _log.warning("%s was not compared with torch: this package cannot run it", export_format.name)
        record["parity"] = None if parity is None else parity.as_json()
        write_json(temporary / EXPORT_FILE, record)
        if parity is not None and not parity.passed:
            raise _failure(parity, _set_aside(temporary, folder))
        if bundle:
            write_bundle(temporary, record["model"], expected, images, bounds)
    return Exported(folder, folder / record["artifact"], record, parity)


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
    reference: TorchModel, folder: Path, written: Path, export_format: ExportFormat, precision: str, batch_size: int
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
        "model": vendor_export.spec_of(reference.detector, reference.input_size, batch_size)
        | {
            "best_confidence": best_confidences(checkpoint),
            "duplicates": PredictConfig().model_dump(include={"nms_iou", "nms_iom", "agnostic_nms_iou"}),
        },
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
