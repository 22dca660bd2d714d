"""Makes `report.html` and `samples.png` from the files of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import coco
from ..core.config import DISPLAY_CONFIDENCE, PipelineConfig
from ..core.types import GroundTruth, ImagePredictions, Instance, TruthImage
from ..dataset.dataset_index import BuiltDataset
from ..dataset.split_groups import leakage
from ..drawing.overlays import contact_sheet, draw_instances
from ..evaluation.gold_sets import Gold
from ..evaluation.run_scores import results_files
from ..images.image_opening import open_rgb
from ..images.rgb_image import write_png
from ..labels.label_account import read_failures
from ..system.config_files import dump
from ..system.files import read_json, replacing
from ..system.run_folder import RunFolder
from .error_pictures import ErrorPicture, chosen_errors
from .report_page import PageData, Pair, Sample, write_page

_ROWS_IN_PICTURE = 4
_PAIRS_SHOWN = 6


def write_report(config: PipelineConfig, run: RunFolder, gold: Gold, metrics: Mapping[str, Any], page: Path) -> None:
    """Writes the page of an evaluated run to `page`, and its picture to the folder of the run."""
    details = read_json(run.evaluation / "details.json")
    predictions = {
        who: _above_best_confidence(_stored_predictions(run, gold, who), metrics[who])
        for who in ("base", "target")
        if metrics[who] is not None
    }
    worst = images_by_f1(gold.truth, details["target"])[: config.evaluation.samples]
    samples = _Samples(worst, predictions, details, run.dataset)
    built = BuiltDataset.of_folder(run.dataset)
    index = built.head
    training = read_json(run.training_record)
    write_page(
        page,
        PageData(
            title=run.root.resolve().name,
            metrics=metrics,
            details=details,
            samples=samples,
            classes=gold.truth.classes,
            dataset={key: index[key] for key in ("counts", "kept", "rejected", "per_class", "too_rare")},
            leakage=leakage(index["kept_together"]),
            pairs=_pairs(built),
            versions={**metrics["versions"], **training.get("versions", {})},
            config_text=dump(config),
            errors=_error_pictures(run, built, gold, predictions, details),
            failures=read_failures(run.labels),
            max_megapixels=config.inputs.max_megapixels,
        ),
    )
    with replacing(run.picture) as temporary:
        rows = (
            _panels(samples[at], gold, config.inputs.max_megapixels)
            for at in range(min(_ROWS_IN_PICTURE, len(samples)))
        )
        write_png(temporary, contact_sheet(rows))


def _pairs(built: BuiltDataset) -> list[Pair]:
    """Some of the pairs that look alike, with each image at most once and with the paths in the dataset."""
    chosen: list[tuple[str, str]] = []
    seen: set[str] = set()
    for one, other in built.head["kept_together"]["pairs"]:
        if not {one, other} & seen and len(chosen) < _PAIRS_SHOWN:
            seen |= {one, other}
            chosen.append((one, other))
    entries = {path: entry for path, entry in built.images() if path in seen} if seen else {}

    def file(path: str) -> Path:
        return built.folder / entries[path]["split"] / entries[path]["file_name"]

    return [Pair((one, other), entries[one]["split"], (file(one), file(other))) for one, other in chosen]


def images_by_f1(truth: GroundTruth, details: Mapping[str, Any]) -> list[TruthImage]:
    """The images sorted by the F1 of the target, lowest first; those without F1 (no object, none found) last."""

    def rank(image: TruthImage) -> tuple[float, str]:
        f1 = details["images"].get(image.image_id, {}).get("f1")
        return (2.0 if f1 is None else f1, image.image_id)

    return sorted(truth.images, key=rank)


def _stored_predictions(run: RunFolder, gold: Gold, who: str) -> list[ImagePredictions]:
    """The predictions of base or target that the evaluation wrote."""
    return [
        prediction
        for name, path in results_files(run, gold, who).items()
        for prediction in coco.read_results(path, gold.whole.parts[name])
    ]


def _above_best_confidence(
    predictions: Sequence[ImagePredictions], scores: Mapping[str, Any]
) -> dict[str, tuple[Instance, ...]]:
    """The instances to show in each image: those above the confidence with the best F1."""
    threshold = scores.get("best_confidence") or DISPLAY_CONFIDENCE
    return {p.image_id: tuple(i for i in p.instances if i.score >= threshold) for p in predictions}


class _Samples(Sequence[Sample]):
    """Makes each sample when it is requested, so that only one image is in memory."""

    def __init__(
        self,
        images: Sequence[TruthImage],
        predictions: Mapping[str, Mapping[str, tuple[Instance, ...]]],
        details: Mapping[str, Any],
        dataset: Path,
    ) -> None:
        self._dataset = dataset
        self._images = images
        self._predictions = predictions
        self._details = details

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, at: Any) -> Any:
        image = self._images[at]
        return Sample(
            title=image.image_id,
            image=image.path,
            gold=image.instances,
            base=self._instances("base", image),
            target=self._instances("target", image),
            note=self._note(image.image_id),
            nearest=self._nearest(image.image_id),
            nearest_note=self._nearest_note(image.image_id),
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[at] for at in range(len(self)))

    def _instances(self, who: str, image: TruthImage) -> tuple[Instance, ...] | None:
        return self._predictions[who].get(image.image_id, ()) if who in self._predictions else None

    def _nearest(self, image_id: str) -> Path | None:
        near = (self._details.get("nearest") or {}).get(image_id)
        return None if near is None else self._dataset / near["like"]

    def _nearest_note(self, image_id: str) -> str:
        near = (self._details.get("nearest") or {}).get(image_id)
        return "" if near is None else f"{near['like']}, {near['bits']} of 64 bits differ"

    def _note(self, image_id: str) -> str:
        counts = self._details["target"]["images"].get(image_id)
        if not counts:
            return ""
        return f"target: {counts['matched']} matched, {counts['missed']} missed, {counts['false_alarms']} false alarms"


def _error_pictures(
    run: RunFolder,
    built: BuiltDataset,
    gold: Gold,
    predictions: Mapping[str, Mapping[str, tuple[Instance, ...]]],
    details: Mapping[str, Any],
) -> list[ErrorPicture]:
    """The errors of the target that are shown, each with the command that explains a label like it."""
    errors = chosen_errors(details["target"].get("errors") or ())
    if not errors:
        return []
    images = {image.image_id: image for image in gold.truth.images}
    found = []
    with _TrainingLabels(run, built, gold.truth.classes.names) as labels:
        for error in errors:
            image = images[error["image_id"]]
            near = (details.get("nearest") or {}).get(image.image_id)
            command, like = ("", "") if near is None else labels.explain(near["like"], error["class_index"])
            target = predictions["target"].get(image.image_id, ())
            found.append(ErrorPicture(error, image.path, image.instances, target, command, like))
    return found


class _TrainingLabels:
    """Finds a label of a class in a training image, for the command that explains it."""

    def __init__(self, run: RunFolder, built: BuiltDataset, names: Sequence[str]) -> None:
        self._run = run
        self._built = built
        self._names = names
        self._files: dict[str, tuple[coco.LabelFile, dict[str, int]]] = {}

    def __enter__(self) -> _TrainingLabels:
        return self

    def __exit__(self, *_: object) -> None:
        for file, _numbers in self._files.values():
            file.close()

    def explain(self, image: str, class_index: int) -> tuple[str, str]:
        """The command for the first label of the class in an image such as `train/b.jpg`, or of any class, and which
        label it is; two empty texts if the image has none."""
        split, _, name = image.partition("/")
        if split not in self._files:
            opened = self._built.labels(split)
            self._files[split] = opened, {of_image: at for at, of_image in enumerate(opened.names)}
        file, numbers = self._files[split]
        rows = file.annotations(numbers[name]) if name in numbers else []
        of_class = [row for row in rows if row["category_id"] == class_index + 1]
        if not rows:
            return "", ""
        row = (of_class or rows)[0]
        label = self._names[row["category_id"] - 1]
        return f"autodistill-seg explain {self._run.root} {split}:{row['id']}", f"{label} in {image}"


def _panels(sample: Sample, gold: Gold, max_megapixels: float) -> list[tuple[str, Any]]:
    pixels = open_rgb(Path(str(sample.image)), max_megapixels=max_megapixels)
    shown = (("gold" if gold.human else "base's labels", sample.gold), ("base", sample.base), ("target", sample.target))
    return [
        (f"{caption}: {sample.title}" if at == 0 else caption, draw_instances(pixels, instances, gold.truth.classes))
        for at, (caption, instances) in enumerate(shown)
        if instances is not None
    ]
