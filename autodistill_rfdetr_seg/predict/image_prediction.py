"""Predicts a folder, in this process or by the actors of a Ray cluster: this process writes pictures and lines."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import coco
from ..core.config import DISPLAY_CONFIDENCE, MAX_MEGAPIXELS, EngineConfig, check_megapixels
from ..core.config import options as parse_options
from ..core.errors import AutodistillSegError
from ..core.plain_text import counted
from ..core.types import Classes
from ..images.image_discovery import discover, relative_paths
from ..runtime.prediction_rules import PredictionRules
from ..system.files import check_apart, check_output, claim_output
from ..system.locks import locked
from ..targets.inference.class_confidence import Confidence
from ..targets.inference.ruled_prediction import prediction_rules
from .prediction_journal import PICTURES, PredictionJournal, count_by_class, model_identity, model_name
from .prediction_threads import ImagePrediction
from .ray_prediction import model_for_actors, predict_in_actors

_log = logging.getLogger(__name__)


@dataclass
class PredictedImages:
    """The result of a prediction: instances by class for each image, and the reason for each image that failed.

    `duplicates` is how many instances were removed as duplicates of better ones in the images predicted now.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    duplicates: int = 0

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"images": self.counts, "failures": self.failures, "duplicates": self.duplicates}


def predict_images(
    model: str | Path | Any,
    source: str | Path,
    output: str | Path | None = None,
    *,
    confidence: Confidence = DISPLAY_CONFIDENCE,
    thresholds: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
    **options: Any,
) -> PredictedImages:
    """Finds instances in one image, or in every image of a folder, with the model of a run, checkpoint or export.

    `model` is its path, or a model itself, such as one that a server runs (`EndpointModel`). Writes
    `output/predictions.jsonl` (a line for each image, as soon as it is done), at the end `output/predictions.json`
    (COCO, with a score for each annotation, file names relative to `source`), and `output/pictures/NAME.png`, where
    NAME has the image's suffix. An image that cannot be read, is larger than `max_megapixels`, or that the model or a
    server fails on, is a failure with a reason; the rest is predicted. With `resume`, results of the same model for the
    same file at the same confidence and with the same options are kept.

    `confidence` is as for `RFDETRSeg.predict`; `thresholds` is the run, checkpoint or export that "best" is read from,
    the model itself by default. `options` are those of `PredictConfig`: tiles, and when an instance is a duplicate; and
    those of `EngineConfig`: with `engine="ray"` the actors of a Ray cluster predict, for which `model` is a path. They
    answer in any order, which is that of `predictions.jsonl`; the other files are as without Ray.

    Raises:
        MissingInputError: there is no such source or model.
        OutputExistsError: `output` is not empty, or is a folder of the images.
        UsageError: a confidence is not within 0..1 or not known, an option is wrong, `max_megapixels` is not above 0.
        UnknownNameError: a confidence is of no class.
        DataError: another process is writing to `output`.
        RemoteError: the server fails on the first image; there is no Ray cluster, or it has nothing free.
        DependencyError: Ray is not installed, or differs on the nodes.
    """
    from tqdm import tqdm

    check_megapixels(max_megapixels)
    of_engine = {name: options.pop(name) for name in EngineConfig.model_fields.keys() & options.keys()}
    engine = parse_options(EngineConfig, of_engine, "predict_images()")
    source, output = Path(source), None if output is None else Path(output)
    images = [(source, source.name)] if source.is_file() else relative_paths(discover(source), source)
    if output is not None:
        check_apart(output, source, PICTURES)
        check_output(output, resume=resume, overwrite=overwrite)
    with FolderPrediction(
        model, output, confidence, thresholds, device, options, max_megapixels, resume, overwrite, engine
    ) as prediction:
        todo = prediction.not_yet_done(images)
        done = len(images) - len(todo)
        if done:
            _log.info("%d of %d images are predicted already", done, len(images))
        hidden = not progress or len(images) == 1
        with tqdm(total=len(images), initial=done, desc="Predicting", unit="image", disable=hidden) as bar:
            for _ in prediction.predict(todo):
                bar.update()
        return prediction.finish([name for _, name in images])


class FolderPrediction:
    """A prediction of images that writes each result as it is made; a context manager. Arguments as `predict_images`.

    Raises as `predict_images` when it is entered.
    """

    def __init__(
        self,
        model: str | Path | Any,
        output: Path | None,
        confidence: Confidence,
        thresholds: str | Path | None,
        device: str,
        options: Mapping[str, Any],
        max_megapixels: float,
        resume: bool,
        overwrite: bool,
        engine: EngineConfig | None = None,
    ) -> None:
        from ..targets import load_artifact

        self._engine, self._device = engine or EngineConfig(), device
        self._model: Any = model
        if self._engine.engine == "ray":
            self._model = model_for_actors(model, self._engine, device)
        elif isinstance(model, str | Path):
            self._model = load_artifact(model, device)
        self._classes = Classes(tuple(self._model.class_names))
        self._rules = prediction_rules(self._model, confidence, options, thresholds)
        self._output, self._resume, self._overwrite = output, resume, overwrite
        self._max_megapixels = max_megapixels
        self._removed: Counter[str] = Counter()
        self._journal: PredictionJournal | None = None
        self._stack = ExitStack()
        self._predicted = 0
        self.result = PredictedImages()

    def __enter__(self) -> FolderPrediction:
        with ExitStack() as stack:
            if self._output is not None:
                claim_output(self._output, resume=self._resume, overwrite=self._overwrite)
                stack.enter_context(locked(self._output))
                if not self._resume:
                    (self._output / "predictions.json").unlink(missing_ok=True)
                made_by = model_identity(self._model, self._classes, self._rules)
                self._journal = stack.enter_context(
                    PredictionJournal(self._output, made_by, self._classes, not self._resume)
                )
                if self._journal.has_other_lines:
                    _log.info("%s: lines of another model or other options are not used", self._journal.path)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def not_yet_done(self, images: list[tuple[Path, str]]) -> list[tuple[Path, str]]:
        """The images (path, name) without a result of an earlier prediction, which are counted otherwise."""
        if self._journal is None:
            return images
        todo = []
        for path, name in images:
            if self._journal.has(path, name):
                self.result.counts[name] = self._journal.counts[name]
            else:
                todo.append((path, name))
        return todo

    def predict(self, images: list[tuple[Path, str]]) -> Iterator[str]:
        """Predicts images (path, name), and gives the name of each when it is done or has failed."""
        prediction = ImagePrediction(self._classes, self._rules, self._max_megapixels, self._output is not None)
        record = None if self._journal is None else self._journal.add
        if self._engine.engine == "ray":
            answers = predict_in_actors(self._model, prediction, images, self._engine, self._device, record)
        else:
            answers = prediction.predict_each(self._model, images, record)
        with closing(answers):
            for name, found in answers:
                if isinstance(found, AutodistillSegError):
                    self.result.failures[name] = found.message
                    _log.warning("%s", found)
                else:
                    self._removed.update(found.counts)
                    indices = [one.class_index for one in found.instances]
                    self.result.counts[name] = count_by_class(indices, self._classes)
                    self.result.failures.pop(name, None)
                self._predicted += 1
                yield name

    def finish_all(self) -> PredictedImages:
        """As `finish`, with all images that have a result, also those written while the prediction was interrupted."""
        if self._journal is not None:
            self.result.counts = dict(self._journal.counts)
        return self.finish(sorted(self.result.counts))

    def finish(self, names: Sequence[str]) -> PredictedImages:
        """Writes `predictions.json` with the images of these names; the result."""
        result, removed = self.result, self._removed
        result.counts = {name: result.counts[name] for name in names if name in result.counts}
        # Actors answer in any order.
        result.failures = {name: result.failures[name] for name in names if name in result.failures} | result.failures
        if self._output is not None and self._journal is not None:
            journal = self._journal
            rows = ((name, journal.labels(name)) for name in result.counts)
            info = _coco_info(self._model, self._rules, self._classes)
            coco.write(self._output / "predictions.json", rows, self._classes, info)
        result.duplicates = removed["duplicate"]
        if result.duplicates:
            _log.info("%s removed", counted(result.duplicates, "duplicate instance"))
        if self._rules.tile is not None and self._predicted and not removed["tiled image"]:
            _log.warning("No image is larger than a tile of %d pixels: all were predicted whole.", self._rules.tile)
        return result


def _coco_info(model: Any, rules: PredictionRules, classes: Classes) -> Mapping[str, Any]:
    confidence: Any = rules.confidence
    if isinstance(confidence, tuple):
        confidence = dict(zip(classes.names, confidence, strict=True))
    return {
        "description": "Predicted by a model with autodistill-rfdetr-seg.",
        "checkpoint": model_name(model),
        "confidence": confidence,
        "tiles": rules.tile,
    }
