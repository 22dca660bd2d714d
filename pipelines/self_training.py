"""Self-training: the student labels new photos and learns again with them, as long as that makes it better.

    python pipelines/self_training.py pipelines/grounded-sam-nano.yaml --new photos2 --new photos3 --output runs/rounds

Round 1 is the pipeline file's own run: its base labels, its target learns, both are scored on its gold set. In every
further round the student of the last one labels a folder that nobody has labelled. An image of it counts only where the
student is sure of every object in it (--confidence) and finds it again when asked again (--stability): one doubtful
object left out would teach that it is ground. What scores under --ignore is nothing at all. The new images join those
of the rounds before, a student is trained on all of them from the same start, and scored on the same gold set, none of
whose images may have been seen. The better one stays; where the new one is no better it ends there, with exit code 5.

A person's work wins: with --look it stops before a training; look at round-N/labelled (`autodistill-seg review`),
correct in any COCO editor, bring it back (`autodistill-seg import`), and call the same again without --look. An image
that was worked on counts however unsure the student was. Whatever is finished is not done again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autodistill_rfdetr_seg import AutodistillSegError, label, run
from autodistill_rfdetr_seg.cli.command_line import any_text
from autodistill_rfdetr_seg.cli.option_values import name_values
from autodistill_rfdetr_seg.core.config import BaseConfig, PipelineConfig
from autodistill_rfdetr_seg.core.errors import DataError, GateError, UsageError
from autodistill_rfdetr_seg.dataset.dataset_joining import Part, join
from autodistill_rfdetr_seg.evaluation.gold_sets import read_gold
from autodistill_rfdetr_seg.pipeline.runs import with_ontology
from autodistill_rfdetr_seg.pipeline.stages import evaluate_stage, train_stage
from autodistill_rfdetr_seg.system.config_files import load
from autodistill_rfdetr_seg.system.files import read_json, write_json
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from autodistill_rfdetr_seg.targets import checkpoint_of


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description="Rounds of self-training.", allow_abbrev=False)
    parser.add_argument("pipeline", type=Path, help="a pipeline file with one gold set: round 1")
    parser.add_argument("--new", type=Path, action="append", required=True, help="new photos; one folder a round")
    parser.add_argument("--output", type=Path, required=True, help="a folder for all rounds; called again it goes on")
    parser.add_argument("--confidence", type=float, default=0.6, help="a sure label scores this (default: %(default)s)")
    parser.add_argument("--stability", type=float, default=0.8, help="and has this stability (default: %(default)s)")
    parser.add_argument("--ignore", type=float, default=0.2, help="less than this is nothing (default: %(default)s)")
    parser.add_argument("--look", action="store_true", help="stop before training, for people to correct the labels")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the pipeline file"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    return parser.parse_args(arguments)


def rounds(args: argparse.Namespace) -> None:
    """All rounds, each after the first only if the one before was better; `rounds.json` says what came out."""
    progress = not args.quiet
    config = load(args.pipeline, name_values(args.set, "--set"))
    if not config.evaluation.gold:
        raise UsageError("The pipeline file has no gold set.", "Without one no round can be called the better.")
    # A gate ends a pipeline; here it is the round before that has to be beaten. A joined dataset has no hashes to find
    # look-alikes with, and all rounds are scored on the same images.
    scoring = config.evaluation.model_copy(update={"gates": {}, "look_alikes": None})
    config = config.model_copy(update={"evaluation": scoring})
    best = RunFolder(args.output / "round-1")
    run(config, best.root, resume=True, progress=progress)
    told, parts = [told_of(best)], [Part(best.root)]
    for number, photos in enumerate(args.new, start=2):
        here = RunFolder(args.output / f"round-{number}")
        student = BaseConfig(name=str(checkpoint_of(best.root).resolve()), args={"device": config.target.device})
        labelled = label_with(student, photos, here.root / "labelled", config, args)
        if args.look and not here.training_record.is_file():
            print(f"look at {labelled}, then call this again without --look")
            return
        parts.append(Part(labelled, args.confidence, args.stability))
        joined = join(parts, here.dataset)
        print(
            f"round {number}: {joined.dataset.counts['train']['images']} images to learn from, {joined.unsure} unsure"
        )
        config = with_ontology(config.model_copy(update={"base": student, "ontology": {}}))
        refuse_another_gold(config, here, best)
        train_stage(config, here, progress=progress)
        evaluate_stage(config, here, progress=progress)
        told.append(told_of(here))
        write_json(args.output / "rounds.json", {"rounds": told, "best": max(told, key=lambda one: one["mask_ap"])})
        print(f"round {number}: mask AP {told[-1]['mask_ap']:.3f}, before {told[-2]['mask_ap']:.3f}")
        if told[-1]["mask_ap"] <= told[-2]["mask_ap"]:
            raise GateError(f"Round {number} is no better than round {number - 1}: {best.root} is kept.")
        best = here
    print(f"best: {best.root}")


def label_with(
    student: BaseConfig, photos: Path, output: Path, config: PipelineConfig, args: argparse.Namespace
) -> Path:
    """The run's folder where a student has labelled new photos; all go to train, as a student is no judge of itself."""
    base = student.model_copy(update={"stability": True})
    rules = config.refine.model_copy(update={"confidence": args.ignore, "min_stability": None}).model_dump()
    split = config.split.model_copy(update={"train": 1.0, "valid": 0.0, "test": 0.0}).model_dump()
    label(base, photos, output, resume=True, refine=rules, split=split, progress=not args.quiet)
    return output


def told_of(place: RunFolder) -> dict[str, str | float]:
    """What `rounds.json` says of a round."""
    mask_ap = read_json(place.evaluation / "metrics.json")["target"]["mask"]["ap"]
    if mask_ap is None:
        raise DataError("The gold set has no object, so no round can be called the better.")
    return {"run": str(place.root), "checkpoint": str(checkpoint_of(place.root)), "mask_ap": mask_ap}


def refuse_another_gold(config: PipelineConfig, here: RunFolder, before: RunFolder) -> None:
    """Scores compare on the same images only, and an image that is learnt from is left out of the gold set."""
    gold = read_gold(config, here)
    if gold.truth.fingerprint != read_json(before.evaluation / "metrics.json")["fingerprints"]["gold"]:
        raise DataError(
            f"The gold set of {len(gold.truth.images)} images is not the one of the round before: some are in --new.",
            "Keep gold images out of every folder that is labelled.",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rounds, and returns the exit code; an error is one sentence on stderr."""
    try:
        with any_text():
            rounds(options(arguments))
    except AutodistillSegError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
