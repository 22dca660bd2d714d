"""What each command of the command line does: options in, stages run, results printed, exit code out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bases.registry import own_ontology
from .bases.source import BaseSource
from .config import EvaluationConfig, PipelineConfig, TargetConfig, load, options, parse
from .dataset import read_dataset, read_index
from .errors import MissingInputError, UsageError
from .fetching import on_disk
from .labeling import LabelSummary
from .pipeline import check_gates, describe_dataset, describe_labels, prepare, run_stages, with_ontology
from .stages import (
    RunFolder,
    build_stage,
    check_training,
    find_inputs,
    label_stage,
    source_of,
    train_stage,
    train_target,
)
from .tables import metrics_table, one_table
from .video import SUFFIXES as VIDEO_SUFFIXES

if TYPE_CHECKING:
    from .target import Preflight

OK = 0
FAILED = 1
SOME_FAILED = 4
INTERRUPTED = 130
# Of dataset.json, what `label` and `build` print.
_SHOWN = ("counts", "kept", "rejected", "too_rare", "per_class", "kept_together")

_log = logging.getLogger(__name__)


def say(text: str) -> None:
    """Prints a result."""
    sys.stdout.write(f"{text}\n")


def say_json(data: Any) -> None:
    """Prints a result as JSON."""
    say(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def label(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Labels a folder and builds the dataset."""
    config, run, source = _prepared(args, changes)
    if args.preview is not None:
        return _preview(args, config, run, source)
    summary = label_stage(config, run, source, progress=not args.quiet)
    _log.info("%s", describe_labels(summary))
    if config.labeling.share is not None:
        index, count = config.labeling.share
        _say_share(args, run, summary, f"share {index} of {count}")
        return SOME_FAILED if summary.failures else OK
    dataset, worked = build_stage(config, run, progress=not args.quiet)
    _log.info("%s", describe_dataset(dataset, worked))
    _say_dataset(args, run, summary.failures)
    return SOME_FAILED if summary.failures else OK


def _prepared(args: argparse.Namespace, changes: Mapping[str, Any]) -> tuple[PipelineConfig, RunFolder, BaseSource]:
    from .cli_options import ontology

    # Not resolved: the name of a link, and a pattern, are as they were given.
    data: dict[str, Any] = {"images": str(Path.cwd() / args.images)}
    own = None
    if not (args.ontology or args.classes):
        own = own_ontology(_changed({**data, "ontology": {}}, changes).base)
    config = _changed({**data, "ontology": own or ontology(args)}, changes)
    run = RunFolder(Path(args.output))
    source = prepare(config, run, source_of(config), resume=args.resume, overwrite=args.overwrite)
    return config, run, source


def _preview(args: argparse.Namespace, config: PipelineConfig, run: RunFolder, source: BaseSource) -> int:
    from .previewing import preview

    found = find_inputs(config, run, progress=not args.quiet)
    shown = preview(config, found.items, source, run.root, args.preview, progress=not args.quiet)
    if args.json:
        say_json(shown.as_json())
    else:
        classes = ", ".join(f"{count} {name}" for name, count in shown.per_class.items())
        say(f"{shown.images} images: {classes or 'nothing'}; dropped {sum(shown.rejected.values())}")
        say(f"picture  {shown.picture}\npage     {shown.page}")
        say(f"go on with the same command, --resume in place of --preview {args.preview}")
    return SOME_FAILED if shown.failures else OK


def plan(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Labels a sample and forecasts the whole."""
    from .planning import forecast_text
    from .planning import plan as forecast

    config, run, source = _prepared(args, changes)
    # Before the images are looked for: a video's frames are extracted now, and not again by the run.
    begun = time.process_time()
    found = find_inputs(config, run, progress=not args.quiet)
    result = forecast(config, found.items, source, run.root, args.count, begun=begun, progress=not args.quiet)
    if args.json:
        say_json(result.as_json())
    else:
        say(forecast_text(result))
    return OK


def review(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Orders labels by what to look at first."""
    from .reviewing import review as review_of
    from .reviewing import review_text

    found = review_of(RunFolder(Path(args.run)), args.count)
    if args.json:
        say_json(found.as_json())
    else:
        say(review_text(found))
    return OK


def explain(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Tells where a label came from."""
    from .explaining import explain as explanation_of
    from .explaining import explain_text

    found = explanation_of(RunFolder(Path(args.run)), args.label)
    if args.json:
        say_json(found.as_json())
    else:
        say(explain_text(found))
    return OK


def diff(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Tells what two datasets differ in."""
    from .comparing import compare, comparison_text

    found = compare(RunFolder(Path(args.run)), RunFolder(Path(args.other)))
    if args.json:
        say_json(found.as_json())
    else:
        say(comparison_text(found))
    return OK


def build(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Builds a run's dataset again."""
    run = RunFolder(Path(args.run))
    config = _of_run(run, changes)
    dataset, worked = build_stage(config, run, progress=not args.quiet)
    run.save_config(config)
    _log.info("%s", describe_dataset(dataset, worked))
    _say_dataset(args, run, ())
    return OK


def train(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Trains on a run's dataset, or on any dataset."""
    source = Path(args.dataset)
    if "target.preset" in changes and {"target.batch_size", "target.grad_accum_steps"} & changes.keys():
        raise UsageError("--preset chooses --batch-size and --grad-accum-steps: give one of the two.")
    if (source / "pipeline.yaml").is_file():
        if args.output:
            raise UsageError("A run's checkpoint goes into the run's folder; --output is for a dataset.")
        run = RunFolder(source)
        config = _of_run(run, changes)
        if args.dry_run:
            return _say_preflight(args, check_training(config.target, read_dataset(run.dataset), run.training))
        result, worked = train_stage(config, run, progress=not args.quiet)
        run.save_config(config)
        if not worked:
            _log.info("train: the checkpoint is there, from the same dataset and options (nothing to do)")
    else:
        keys = {key.removeprefix("target."): value for key, value in changes.items()}
        target = options(TargetConfig, _nested(keys), "the options")
        output = Path(args.output) if args.output else None
        if args.dry_run:
            return _say_preflight(args, check_training(target, source, output))
        result = train_target(target, source, output, progress=not args.quiet)
    if args.json:
        say_json({"checkpoint": str(result.checkpoint), "checkpoint_sha256": result.checkpoint_sha256})
    else:
        say(f"checkpoint  {result.checkpoint}")
    return OK


def _say_preflight(args: argparse.Namespace, found: Preflight) -> int:
    if args.json:
        say_json(found.as_json())
    else:
        say(found.as_table())
    return 1 if found.errors else OK


def evaluate(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Scores a run's base and target, or a file of predictions."""
    if args.predictions:
        return _evaluate_file(args, changes)
    if args.run and (Path(args.run) / "export.json").is_file():
        return _evaluate_export(args, changes)
    if not args.run:
        raise UsageError("There is nothing to evaluate.", "Give a run's folder, or --predictions with --gold.")
    from .scoring import evaluate_stage

    run = RunFolder(Path(args.run))
    config = _of_run(run, changes)
    metrics, worked = evaluate_stage(config, run, progress=not args.quiet)
    run.save_config(config)
    if not worked:
        _log.info("evaluate: the same checkpoint has been scored on the same images (nothing to do)")
    _say_metrics(args, metrics, {"metrics": run.evaluation / "metrics.json"})
    check_gates(config, metrics)
    return OK


def _evaluate_file(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    from . import coco
    from .evaluation import evaluate as score

    keys = {key.removeprefix("evaluation."): value for key, value in changes.items()}
    config = options(EvaluationConfig, _nested(keys), "the options")
    if len(config.gold) != 1 or args.run:
        raise UsageError("--predictions wants exactly one --gold and no run.")
    truth = coco.read(Path(config.gold[0]))
    found = coco.read_results(Path(args.predictions), truth)
    report = score(truth, found, max_detections=config.max_detections, area_from=config.area_from)
    if args.json:
        say_json(report.to_dict())
    else:
        say(one_table(report.to_dict()))
    return OK


def _evaluate_export(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    from .scoring import evaluate_model
    from .target import load_artifact

    keys = {key.removeprefix("evaluation."): value for key, value in changes.items()}
    config = options(EvaluationConfig, _nested(keys), "the options")
    if len(config.gold) != 1:
        raise UsageError("An export is scored on exactly one --gold.")
    report = evaluate_model(
        load_artifact(Path(args.run)),
        config.gold[0],
        score_floor=config.score_floor,
        max_detections=config.max_detections,
        area_from=config.area_from,
        progress=not args.quiet,
    )
    if args.json:
        say_json(report.to_dict())
    else:
        say(one_table(report.to_dict()))
    return OK


def predict(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Finds instances in images."""
    from .predicting import predict_images

    if not 0 <= args.confidence <= 1:
        raise UsageError(f"--confidence is {args.confidence:g}; it lies between 0 and 1.")
    output = Path(args.output) if args.output else None
    model = _model_of(args)
    if Path(args.source).suffix.lower() in VIDEO_SUFFIXES:
        return _predict_video(args, model, output)
    if args.track:
        raise UsageError("--track follows instances through a video.", f"{args.source} is none.")
    with on_disk(args.source, args.allow_url) as source:
        result = predict_images(
            model,
            source,
            output,
            confidence=args.confidence,
            device=args.device,
            resume=args.resume,
            overwrite=args.overwrite,
            progress=not args.quiet,
        )
    if args.json:
        say_json(result.as_json())
    else:
        for name, counts in result.counts.items():
            found = ", ".join(f"{count} {label}" for label, count in counts.items() if count)
            say(f"{name}: {found or 'nothing'}")
        if output:
            say(f"written to {output}")
    return SOME_FAILED if result.failures else OK


def _predict_video(args: argparse.Namespace, model: Any, output: Path | None) -> int:
    from .files import claim_output
    from .predicting_video import predict_video
    from .target import load_artifact

    if output is None:
        raise UsageError("A video needs a folder for the annotated one and its lines.", "Give --output FOLDER.")
    if isinstance(model, Path):
        model = load_artifact(model, args.device)
    claim_output(output, resume=args.resume, overwrite=args.overwrite)
    found = predict_video(
        model, Path(args.source), output, confidence=args.confidence, track=args.track, progress=not args.quiet
    )
    if args.json:
        say_json(dataclasses.asdict(found))
    else:
        say(f"{found.frames} frames: {', '.join(f'{n} {name}' for name, n in found.counts.items() if n) or 'nothing'}")
        if found.tracks is not None:
            say(f"tracks: {', '.join(f'{n} {name}' for name, n in found.tracks.items() if n) or 'none'}")
        say(f"video  {found.video}\nlines  {found.lines}")
    return OK


def _model_of(args: argparse.Namespace) -> Any:
    """Where the model lies that `predict` is to take, or the model behind its endpoint."""
    if args.endpoint is None:
        if args.model is None:
            raise UsageError("There is nothing to predict with.", "Give a model and images, or --endpoint URL.")
        if args.classes or args.insecure:
            raise UsageError("--class and --insecure go with --endpoint only.")
        return Path(args.model)
    if args.model is not None:
        raise UsageError("Both a model and an --endpoint are given.", "An endpoint takes one image or folder.")
    from .roboflow_api import EndpointModel

    return EndpointModel(args.endpoint, class_names=args.classes, insecure=args.insecure)


def push(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Uploads a run's dataset to Roboflow."""
    from .roboflow_api import PushOptions
    from .roboflow_api import push as push_dataset
    from .roboflow_api.words import pushed_text

    root = Path(args.run)
    options = PushOptions(
        tags=args.tags or (),
        batch=args.batch or root.resolve().name,
        split_from_run=args.split_from_run,
        overwrite=args.overwrite,
        create=args.create,
        license=args.license,
    )
    result = push_dataset(root, args.workspace, args.project, options, dry_run=args.dry_run, progress=not args.quiet)
    if args.json:
        say_json(dataclasses.asdict(result))
    else:
        say(pushed_text(result))
    return SOME_FAILED if result.failures else OK


def cloud_train(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Trains at Roboflow."""
    from .roboflow_api import Place, follow
    from .roboflow_api import train as begin
    from .roboflow_api.words import trained_text

    run = RunFolder(Path(args.run))
    place = Place(run.root, args.workspace, args.project)
    size = args.size or run.config().target.size
    if args.follow:
        training = None
    else:
        training = begin(
            place,
            size,
            epochs=args.epochs,
            version=args.version,
            preprocessing=args.preprocessing,
            augmentation=args.augmentation,
        )
    if not (args.no_wait and training):
        try:
            training = follow(place, training, timeout=args.timeout)
        except KeyboardInterrupt:
            again = f"cloud-train {args.run} --workspace {args.workspace} --project {args.project} --follow"
            _log.warning("The training goes on at Roboflow. To follow it: autodistill-seg %s", again)
            return INTERRUPTED
    assert training is not None
    if args.json:
        say_json(training.as_json())
    else:
        say(trained_text(training))
    return OK if training.finished or args.no_wait else FAILED


def deploy(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Uploads a checkpoint to Roboflow."""
    from .roboflow_api import deploy as deploy_model
    from .target import checkpoint_of

    done = deploy_model(
        checkpoint_of(Path(args.model)), args.workspace, args.project, args.version, timeout=args.timeout
    )
    if args.json:
        say_json(done.as_json())
    else:
        say(f"deployed, and it has answered  {done.endpoint}")
        say(f"{done.model_type}, {len(done.classes)} classes, {done.bytes / 1e6:.1f} MB uploaded")
    return OK


def export(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Writes a trained target in another format, or compares an export with it."""
    from .target import RFDETRSeg, checkpoint_of
    from .target.exporting import check_export, export_target

    # What is compared is exact on a CPU; TensorRT needs the GPU.
    device = "auto" if args.format in ("tensorrt", "trt") else "cpu"
    target = RFDETRSeg.from_checkpoint(checkpoint_of(Path(args.model)), device=device)
    samples = Path(args.samples) if args.samples else None
    if args.check:
        parity = check_export(target, Path(args.check), samples)
        say_json(parity.as_json()) if args.json else say(parity.sentence())
        return OK
    done = export_target(
        target,
        Path(args.output) if args.output else None,
        format=args.format,
        precision=args.precision,
        batch_size=args.batch_size,
        resolution=args.resolution,
        samples=samples,
        bundle=args.bundle,
        overwrite=args.overwrite,
    )
    if args.json:
        say_json({**done.record, "output": str(done.root), "artifact": str(done.artifact)})
    else:
        say(f"artifact  {done.artifact}")
        say(f"parity    {done.parity.sentence() if done.parity else 'not compared'}")
    return OK


def benchmark(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Measures models."""
    from .benchmarking import benchmark as measure

    names = ("device", "runs", "warm_up", "rounds", "pause", "batch_size", "confidence")
    result = measure(
        args.models,
        args.images,
        args.gold,
        yolo=args.yolo or (),
        output=args.output,
        overwrite=args.overwrite,
        progress=not args.quiet,
        formats=args.formats and args.formats.split(","),
        precisions=args.precision.split(","),
        **{name: getattr(args, name) for name in names},
    )
    say_json(result.to_dict()) if args.json else say(result.to_markdown())
    return SOME_FAILED if any(row["failed"] for row in result.not_run) else OK


def run(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Runs a whole pipeline."""
    config = with_ontology(load(Path(args.config), changes))
    output = args.output or config.output
    if output is None:
        raise UsageError("There is no output folder.", "Give --output RUN, or `output:` in the pipeline.")
    return _run_config(args, config, RunFolder(Path(output)))


def demo(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Makes images and runs the whole pipeline on them."""
    from .demo import pipeline, write_scenes
    from .files import claim_output

    folder = RunFolder(Path(args.output))
    scenes = folder.root / "scenes"
    if not args.resume or not scenes.is_dir():
        claim_output(folder.root, resume=args.resume, overwrite=args.overwrite)
        write_scenes(scenes)
    return _run_config(args, pipeline(scenes), folder, claimed=True)


def _run_config(args: argparse.Namespace, config: PipelineConfig, folder: RunFolder, *, claimed: bool = False) -> int:
    from .files import read_json
    from .labeling import read_failures

    source = source_of(config)
    source = prepare(config, folder, source, resume=args.resume or claimed, overwrite=args.overwrite)
    for result in run_stages(config, folder, source, progress=not args.quiet):
        _log.info("%s", result)
    metrics = read_json(folder.evaluation / "metrics.json")
    places = {"report": folder.report, "metrics": folder.evaluation / "metrics.json", "picture": folder.picture}
    _say_metrics(args, metrics, {**places, "checkpoint": folder.training / "checkpoint_best_total.pth"})
    check_gates(config, metrics)
    return SOME_FAILED if read_failures(folder.labels) else OK


def report(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Writes a run's report page."""
    from .reporting import report_stage

    folder = RunFolder(Path(args.run))
    page = Path(args.output) if args.output else folder.report
    if not report_stage(folder.config(), folder, page, progress=not args.quiet):
        _log.info("report: it is up to date (nothing to do)")
    if args.json:
        say_json({"report": str(page), "picture": str(folder.picture)})
    else:
        say(f"report   {page}\npicture  {folder.picture}")
    return OK


def validate(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Lists every problem of a COCO file."""
    from .coco import validate as problems_of

    source = Path(args.dataset)
    if not source.exists():
        raise MissingInputError(f"There is no {source}.", "Give a COCO JSON file or a folder that holds one.")
    problems = problems_of(source)
    errors = sum(problem.severity == "error" for problem in problems)
    if args.json:
        say_json([dataclasses.asdict(problem) for problem in problems])
    else:
        for problem in problems:
            say(str(problem))
        say(f"{errors} errors, {len(problems) - errors} warnings")
    return 1 if errors else OK


def doctor(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Tells what this machine can do."""
    from .doctor import examine
    from .tables import doctor_table

    found = examine()
    if args.json:
        say_json(found)
    else:
        say(doctor_table(found))
    return OK


def bases(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Lists what can label."""
    from .bases.inventory import inventory
    from .tables import bases_table

    found = [dataclasses.asdict(known) for known in inventory()]
    if args.json:
        say_json(found)
    else:
        say(bases_table(found))
    return OK


def import_labels(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Takes a person's work into a run and builds its dataset again."""
    from .importing import import_labels as import_from

    run = RunFolder(Path(args.run))
    config = run.config()
    summary = import_from(run, Path(args.coco), everything=args.all)
    build_stage(config, run, progress=not args.quiet)
    if args.json:
        say_json(dataclasses.asdict(summary))
    else:
        say(f"{summary.imported} images are now as people left them, {summary.unchanged} are as they were")
        for name in summary.unknown:
            say(f"not of this run  {name}")
    return SOME_FAILED if summary.unknown else OK


BY_NAME = {
    "demo": demo,
    "label": label,
    "plan": plan,
    "build": build,
    "import": import_labels,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "export": export,
    "benchmark": benchmark,
    "run": run,
    "report": report,
    "review": review,
    "explain": explain,
    "diff": diff,
    "validate": validate,
    "push": push,
    "cloud-train": cloud_train,
    "deploy": deploy,
    "bases": bases,
    "doctor": doctor,
}


def _of_run(run: RunFolder, changes: Mapping[str, Any]) -> PipelineConfig:
    run.config()
    return load(run.config_file, changes)


def _changed(data: Mapping[str, Any], changes: Mapping[str, Any]) -> PipelineConfig:
    return parse({**data, **_nested(changes)}, "the options")


def _nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    nested: dict[str, Any] = {}
    for key, value in changes.items():
        at = nested
        *groups, last = key.split(".")
        for group in groups:
            at = at.setdefault(group, {})
        at[last] = value
    return nested


def _say_share(args: argparse.Namespace, run: RunFolder, summary: LabelSummary, share: str) -> None:
    if args.json:
        say_json(dataclasses.asdict(summary))
    else:
        say(f"{share} is labelled; when all are: autodistill-seg build {run.root}")


def _say_dataset(args: argparse.Namespace, run: RunFolder, failures: Any) -> None:
    index = read_index(run.dataset)
    data = {"dataset": str(run.dataset), **{key: index[key] for key in _SHOWN}}
    if args.json:
        say_json({**data, "failures": list(failures)})
        return
    for name, count in index["counts"].items():
        sizes = f"{count['images']:>6} images  {count['instances']:>7} instances  {count['negatives']:>5} negatives"
        say(f"{name:<6} {sizes}")
    reasons = ", ".join(f"{reason} {count}" for reason, count in index["rejected"].items())
    say(f"kept {index['kept']} labels, rejected {sum(index['rejected'].values())}{f' ({reasons})' if reasons else ''}")
    for name, lacking in index["too_rare"].items():
        say(f"class {name!r} has no label in {', '.join(lacking)}")
    for failure in failures:
        say(f"failed  {failure['path']}: {failure['reason']}")
    say(f"dataset  {run.dataset}")


def _say_metrics(args: argparse.Namespace, metrics: Mapping[str, Any], places: Mapping[str, Path]) -> None:
    if args.json:
        say_json({**metrics, "files": {name: str(path) for name, path in places.items()}})
        return
    say(metrics_table(metrics))
    for name, path in places.items():
        say(f"{name:<11}{path}")
