"""Self-training: the student labels new photos and is trained on them too, as long as that makes it better.

    python pipelines/self_training.py pipelines/grounded-sam-nano.yaml --new photos2 --new photos3 --output runs/rounds

Round 1 is the run of the pipeline file: its base labels, its target is trained, and both are scored on its gold set. In
each further round the last student labels a folder of new photos. An image is used only if the student is sure of every
object in it (--confidence) and finds it again in a changed image (--stability): an object that is left out would be
learned as background. Objects that score below --ignore are ignored. The new images are added to those of the earlier
rounds; a student is trained on all of them from the same weights, and scored on the same gold set, whose images must
not be among them. The better student is kept; if the new one is not better, the script ends with exit code 5.

People can correct the labels: with --look the script stops before a training. Check round-N/labelled
(`autodistill-seg review`), correct it in any COCO editor, import it (`autodistill-seg import`), and run the same
command without --look. A corrected image is used even if the student was not sure. Finished steps are not repeated.
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
    parser.add_argument("--new", type=Path, action="append", required=True, help="new photos; one folder per round")
    parser.add_argument("--output", type=Path, required=True, help="a folder for all rounds")
    parser.add_argument(
        "--confidence", type=float, default=0.6, help="of a sure label, at least (default: %(default)s)"
    )
    parser.add_argument("--stability", type=float, default=0.8, help="of a sure label, at least (default: %(default)s)")
    parser.add_argument("--ignore", type=float, default=0.2, help="labels with a lower score (default: %(default)s)")
    parser.add_argument("--look", action="store_true", help="stop before training, for people to correct the labels")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the pipeline file"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    return parser.parse_args(arguments)


def rounds(args: argparse.Namespace) -> None:
    """All rounds; each needs the round before to be better. `rounds.json` has the results."""
    progress = not args.quiet
    config = load(args.pipeline, name_values(args.set, "--set"))
    if not config.evaluation.gold:
        raise UsageError("The pipeline file has no gold set.", "Without one, rounds cannot be compared.")
    # Rounds are compared with each other, not with a gate. A joined dataset has no hashes to find look-alikes with, and
    # all rounds are scored on the same images.
    scoring = config.evaluation.model_copy(update={"gates": {}, "look_alikes": None})
    config = config.model_copy(update={"evaluation": scoring})
    best = RunFolder(args.output / "round-1")
    run(config, best.root, resume=True, progress=progress)
    entries, parts = [round_entry(best)], [Part(best.root)]
    for number, photos in enumerate(args.new, start=2):
        here = RunFolder(args.output / f"round-{number}")
        student = BaseConfig(name=str(checkpoint_of(best.root).resolve()), args={"device": config.target.device})
        labeled = label_with(student, photos, here.root / "labelled", config, args)
        if args.look and not here.training_record.is_file():
            print(f"check {labeled}, then run this again without --look")
            return
        parts.append(Part(labeled, args.confidence, args.stability))
        joined = join(parts, here.dataset)
        print(f"round {number}: {joined.dataset.counts['train']['images']} images to train on, {joined.unsure} unsure")
        config = with_ontology(config.model_copy(update={"base": student, "ontology": {}}))
        refuse_another_gold(config, here, best)
        train_stage(config, here, progress=progress)
        evaluate_stage(config, here, progress=progress)
        entries.append(round_entry(here))
        write_json(
            args.output / "rounds.json", {"rounds": entries, "best": max(entries, key=lambda one: one["mask_ap"])}
        )
        print(f"round {number}: mask AP {entries[-1]['mask_ap']:.3f}, before {entries[-2]['mask_ap']:.3f}")
        if entries[-1]["mask_ap"] <= entries[-2]["mask_ap"]:
            raise GateError(f"Round {number} is not better than round {number - 1}: {best.root} is kept.")
        best = here
    print(f"best: {best.root}")


def label_with(
    student: BaseConfig, photos: Path, output: Path, config: PipelineConfig, args: argparse.Namespace
) -> Path:
    """The folder of a run in which the student labels new photos; all are used for training."""
    base = student.model_copy(update={"stability": True})
    rules = config.refine.model_copy(update={"confidence": args.ignore, "min_stability": None}).model_dump()
    split = config.split.model_copy(update={"train": 1.0, "valid": 0.0, "test": 0.0}).model_dump()
    label(base, photos, output, resume=True, refine=rules, split=split, progress=not args.quiet)
    return output


def round_entry(place: RunFolder) -> dict[str, str | float]:
    """The entry of a round in `rounds.json`."""
    mask_ap = read_json(place.evaluation / "metrics.json")["target"]["mask"]["ap"]
    if mask_ap is None:
        raise DataError("The gold set has no object, so rounds cannot be compared.")
    return {"run": str(place.root), "checkpoint": str(checkpoint_of(place.root)), "mask_ap": mask_ap}


def refuse_another_gold(config: PipelineConfig, here: RunFolder, before: RunFolder) -> None:
    """Scores are comparable on the same images only, and images that are trained on are left out of the gold set."""
    gold = read_gold(config, here)
    if gold.truth.fingerprint != read_json(before.evaluation / "metrics.json")["fingerprints"]["gold"]:
        raise DataError(
            f"The gold set of {len(gold.truth.images)} images is not that of the round before: some are in --new.",
            "Keep gold images out of all folders of photos.",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rounds; returns the exit code. An error is one sentence on stderr."""
    try:
        with any_text():
            rounds(options(arguments))
    except AutodistillSegError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
