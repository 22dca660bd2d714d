"""To Roboflow and back: label here, correct there, train here, deploy there, and score the endpoint.

    export ROBOFLOW_API_KEY=…
    python pipelines/roboflow_round_trip.py pipelines/grounded-sam-nano.yaml --workspace shop --project washers \\
        --output runs/washers
    python pipelines/roboflow_round_trip.py … --corrected washers-1.coco --version 1

The first call labels the images of the pipeline file, and pushes images and masks. Correct them at Roboflow, generate a
version there without preprocessing and augmentation, and download it as COCO Segmentation. The second call imports the
corrections into the run, where they replace the base's labels permanently; it trains and scores, deploys the model to
that version, and scores the endpoint on the same gold set as the local model. Finished steps are not repeated.

Masks are sent as polygons: one with holes or several parts ("simplified") comes back changed, and counts as corrected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autodistill_rfdetr_seg import AutodistillSegError, RFDETRSeg, evaluate_model, label, run
from autodistill_rfdetr_seg.cli.command_line import any_text
from autodistill_rfdetr_seg.cli.option_values import name_values
from autodistill_rfdetr_seg.coco import ANNOTATIONS
from autodistill_rfdetr_seg.core.errors import GateError, UsageError
from autodistill_rfdetr_seg.review.import_corrections import import_labels
from autodistill_rfdetr_seg.roboflow_api import EndpointModel, PushOptions, deploy, push
from autodistill_rfdetr_seg.system.config_files import load
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from autodistill_rfdetr_seg.targets import checkpoint_of


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description="To Roboflow and back.", allow_abbrev=False)
    parser.add_argument("pipeline", type=Path, help="a pipeline file with one gold set")
    parser.add_argument("--workspace", required=True, help="as in the URL of the project's page")
    parser.add_argument("--project", required=True, help="an existing project of type instance segmentation")
    parser.add_argument("--output", type=Path, required=True, help="the folder of the run")
    parser.add_argument("--corrected", type=Path, help="the version's export, unpacked")
    parser.add_argument("--version", type=int, help="the number of the version that gets the model")
    parser.add_argument("--tolerance", type=float, default=0.02, help="allowed loss of mask AP (default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the pipeline file"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    return parser.parse_args(arguments)


def label_and_push(args: argparse.Namespace) -> None:
    """Labels, and pushes the dataset."""
    config = load(args.pipeline, name_values(args.set, "--set"))
    groups = config.model_dump(exclude={"images", "ontology", "base", "output"})
    progress = not args.quiet
    label(config.base, config.images, args.output, config.ontology or None, resume=True, progress=progress, **groups)
    sent = push(args.output, args.workspace, args.project, PushOptions(split_from_run=True), progress=progress)
    print(
        f"{sent.uploaded} images sent, {sent.skipped} already there; "
        f"{len(sent.failures)} failed; {sent.simplified} simplified"
    )
    print("Correct them, generate a version, export it as COCO Segmentation; then give --corrected and --version.")


def import_and_deploy(args: argparse.Namespace) -> None:
    """Imports corrections, trains, deploys, and scores the endpoint and the local model."""
    config = load(args.pipeline, name_values(args.set, "--set"))
    if len(config.evaluation.gold) != 1:
        raise UsageError("The pipeline file needs exactly one gold set, which the endpoint is scored on.")
    files = sorted(args.corrected.glob(f"*/{ANNOTATIONS}"))
    if not files:
        raise UsageError(f"There is no split with {ANNOTATIONS} in {args.corrected}.", "Unpack the export there.")
    for file in files:
        summary = import_labels(RunFolder(args.output), file)
        print(f"{file.parent.name}: {summary.imported} corrected, {summary.unchanged} unchanged")
        for one in summary.unmatched:
            print(f"not of this run: {one.name}: {one.reason}")
    run(config, args.output, resume=True, progress=not args.quiet)
    checkpoint = checkpoint_of(args.output)
    endpoint = deploy(checkpoint, args.workspace, args.project, args.version).endpoint
    here = RFDETRSeg.from_checkpoint(checkpoint, device=config.target.device)
    models = {"here": here, "served": EndpointModel(endpoint, class_names=here.class_names)}
    rules = config.evaluation.model_dump(include={"score_floor", "max_detections", "area_from", "crowds"})
    reports = {
        name: evaluate_model(m, config.evaluation.gold[0], progress=False, **rules) for name, m in models.items()
    }
    lost = (reports["here"].mask["ap"] or 0.0) - (reports["served"].mask["ap"] or 0.0)
    for name, report in reports.items():
        print(
            f"{name:<7} mask AP {report.mask['ap']:.3f}  AP50 {report.mask['ap50']:.3f}  {report.milliseconds:.0f} ms"
        )
    if lost > args.tolerance:
        raise GateError(f"The endpoint {endpoint} loses {lost:.3f} mask AP, more than {args.tolerance:g}.")
    print(f"serving at {endpoint}")


def main(arguments: Sequence[str] | None = None) -> int:
    """One of the two calls; returns the exit code. An error is one sentence on stderr."""
    args = options(arguments)
    try:
        if (args.corrected is None) != (args.version is None):
            raise UsageError("--corrected and --version go together: the export of a version, and its number.")
        with any_text():
            import_and_deploy(args) if args.corrected else label_and_push(args)
    except AutodistillSegError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
