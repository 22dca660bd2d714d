"""Measures the bounds of `autodistill-seg certify` with known truth: how often they hold, and how wide they are.

    python benchmarks/certification.py [--data ../shared/data] [--work FOLDER] [--sets scenes fruits_nuts …]
        [--teacher ../shared/baselines/onnx_teacher.py] [--checks 60 120] [--replicates 1000]

The sets are labeled once, into --work. Drawn scenes, fruits and nuts, and mushrooms (24 photos) are labeled by the
embedded threshold base with `--stability`, 40 photos of COCO by the base in --teacher without it. A label is wrong, and
an object missed, by the masks of people at IoU 0.5. Each replicate draws the checks with another seed, and answers them
from the truth.

The width is the distance from the truth to the bound, in percentage points, on average; `held` is the part of the
replicates in which the bound was true. The alternatives:

    plain      all checks are random labels, with the bound of Clopper and Pearson
    one by one the labels that `certify` checks one by one, without those in regions
    unranked   as `certify`, with the labels that are checked one by one drawn from all labels alike
    even       as many regions with equal probabilities, and the same kind of bound
    normal     as many regions with equal probabilities, and the bound of a ratio estimate with Student's t, whose
               coverage shows why it is not used
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core.config import MOST_MISSED, BaseConfig
from autodistill_rfdetr_seg.core.plain_text import table
from autodistill_rfdetr_seg.evaluation.detections import FloatArray, IntArray
from autodistill_rfdetr_seg.evaluation.stratified_bound import StratifiedTest
from autodistill_rfdetr_seg.pipeline.demo_scenes import ONTOLOGY, write_scenes
from autodistill_rfdetr_seg.pipeline.runs import label
from autodistill_rfdetr_seg.review.certification_bounds import CheckResults, missed_upper, wrong_upper
from autodistill_rfdetr_seg.review.certification_items import read_items
from autodistill_rfdetr_seg.review.certification_sample import divide_checks, draw_sample, region_weights
from autodistill_rfdetr_seg.review.certification_truth import judge_items
from autodistill_rfdetr_seg.system.run_folder import RunFolder

FRUITS = {"#6b2a28:25": "date", "#8a5a40:20": "hazelnut", "#524d40:20": "fig"}
SCENES = 240
MUSHROOM_PHOTOS = 24
COCO_PHOTOS = 40
ALPHA = 0.05


@dataclass(frozen=True)
class Truth:
    """The labels of a set: `ranks`, `wrong` and the index of the region (N,); and of each region (K,) the index of the
    image, the number of `labels`, the wrong ones (`region_wrong`) and the missed objects (`region_missed`)."""

    ranks: FloatArray
    wrong: npt.NDArray[np.bool_]
    region: IntArray
    image: IntArray
    labels: IntArray
    region_wrong: FloatArray
    region_missed: FloatArray

    @property
    def missed(self) -> float:
        """The part of all objects that no right label covers."""
        lost = self.region_missed.sum()
        return float(lost / (lost + (~self.wrong).sum()))


def labeled_set(name: str, args: argparse.Namespace, work: Path) -> Truth:
    """Labels a set into `work`, unless it is there, and compares the labels with the masks of people."""
    run = RunFolder(work / name)
    ontology, images, gold, base, more = _source(name, args, work)
    if not (run.dataset / "dataset.json").is_file():
        split = {"train": 1.0, "valid": 0, "test": 0}
        label(base, images, run.root, ontology, resume=True, split=split, **more)
    items = read_items(run)
    truths = {}
    for prefix, folder in gold.items():
        for image in coco.align(coco.read(folder), items.classes).images:
            truths[prefix + image.image_id] = image
    named = {one.image for one in items.regions}
    judged = judge_items(items, {path: image for path, image in truths.items() if path in named})
    references = [one.reference for one in items.regions]
    return Truth(
        np.array([one.rank for one in items.labels]),
        np.array([not judged.right[one.reference] for one in items.labels]),
        np.array([one.region for one in items.labels]),
        np.unique([one.image for one in items.regions], return_inverse=True)[1],
        np.array([one.labels for one in items.regions]),
        np.array([judged.wrong[name] for name in references], dtype=np.float64),
        np.array([judged.missed[name] for name in references], dtype=np.float64),
    )


def _source(
    name: str, args: argparse.Namespace, work: Path
) -> tuple[dict[str, str], Path, dict[str, Path], BaseConfig, dict[str, Any]]:
    """The ontology, images, gold folders by the prefix of their paths, base and further options of a set."""
    measured: dict[str, Any] = {"refine": {"confidence": 0.2}, "stability": True}
    if name == "scenes":
        folder = work / "scenes_source"
        if not folder.is_dir():
            write_scenes(folder, SCENES)
        base = BaseConfig(name="threshold", args={"split": 0.7})
        return dict(ONTOLOGY), folder / "images", {"": folder / "gold"}, base, measured
    home = args.data / name
    gold = {f"{path.parent.name}/": path.parent for path in sorted(home.glob("*/_annotations.coco.json"))}
    if name == "fruits_nuts":
        base = BaseConfig(name="threshold", args={"min_area": 0.001, "split": 0.5, "opening": 5})
        return FRUITS, home, gold, base, measured
    if name == "mushrooms":
        more = {**measured, "inputs": {"sample": MUSHROOM_PHOTOS}}
        return {"bright": "Mushroom"}, home, gold, BaseConfig(name="threshold"), more
    document = json.loads((next(iter(gold.values())) / coco.ANNOTATIONS).read_text())
    names = [row["name"] for row in document["categories"]]
    base = BaseConfig(name=f"{args.teacher.resolve()}:OnnxTeacher", args={"floor": 0.3, "threads": 1})
    more = {"refine": {"confidence": 0.3}, "inputs": {"sample": COCO_PHOTOS}}
    return {one: one for one in names}, home, gold, base, more


def clopper_pearson(wrong: int, checked: int) -> float:
    """The upper bound of a share, at one-sided confidence 95%, for items drawn with replacement."""
    from scipy.stats import beta

    return 1.0 if wrong == checked else float(beta.ppf(1 - ALPHA, wrong + 1, checked - wrong))


def ratio_bound(truth: Truth, drawn: IntArray) -> float:
    """The upper bound of the miss rate by linearization and Student's t (Cochran, 1977, section 6.4)."""
    from scipy.stats import t

    lost, objects = truth.region_missed[drawn], (truth.region_missed + truth.labels - truth.region_wrong)[drawn]
    if not objects.sum():
        return 1.0
    rate = float(lost.sum() / objects.sum())
    rest = 1 - len(drawn) / len(truth.labels)
    error = np.sqrt(np.var(lost - rate * objects, ddof=1) * rest / len(drawn)) / objects.mean()
    return rate + float(t.ppf(1 - ALPHA, len(drawn) - 1)) * float(error)


def measure(truth: Truth, checks: int, replicates: int, most_missed: float) -> dict[str, FloatArray]:
    """The bounds of each replicate, by their names; those of missed objects are NaN where there is none."""
    from tqdm import tqdm

    count, regions = len(truth.wrong), len(truth.labels)
    of_labels, of_regions = divide_checks(checks, None, count, regions)
    weights, even = region_weights(truth.labels.tolist()), np.full(regions, truth.labels.max() + 1.0)
    tests: dict[tuple[int, ...], StratifiedTest] = {}
    found: dict[str, list[float]] = {
        name: [] for name in ("plain", "one by one", "unranked", "certify", "even", "normal", "missed")
    }
    for seed in tqdm(range(replicates), desc=f"{checks} checks", delay=2):
        rng = np.random.default_rng([seed, 2])
        some = rng.choice(count, min(checks, count), replace=False)
        found["plain"].append(clopper_pearson(int(truth.wrong[some].sum()), len(some)))
        sample = draw_sample(truth.ranks.tolist(), truth.labels.tolist(), of_labels, of_regions, seed)
        sizes, checked = [len(one) for one in sample.strata], [len(one) for one in sample.labels]
        test = tests.setdefault((*sizes, *checked), StratifiedTest(sizes, checked))
        wrong = [int(truth.wrong[one].sum()) for one in sample.labels]
        found["one by one"].append(test.largest_total(wrong, ALPHA) / count)

        def results(drawn: IntArray, by: FloatArray) -> CheckResults:
            inside = truth.region_wrong[drawn], truth.region_missed[drawn]
            return CheckResults(sizes, checked, wrong, by[drawn], float(by.sum()), *inside, most_missed)  # noqa: B023

        ours = results(sample.regions, weights)
        found["certify"].append(wrong_upper(ours, ALPHA, test) / count)
        found["missed"].append(_number(missed_upper(ours, ALPHA)))
        alike = int(truth.wrong[rng.choice(count, of_labels, replace=False)].sum())
        flat = tests.setdefault((count, of_labels), StratifiedTest([count], [of_labels]))
        one_stratum = replace(ours, sizes=[count], checked=[of_labels], wrong=[alike])
        found["unranked"].append(wrong_upper(one_stratum, ALPHA, flat) / count)
        drawn = rng.choice(regions, of_regions, replace=False)
        found["even"].append(_number(missed_upper(results(drawn, even), ALPHA)))
        found["normal"].append(ratio_bound(truth, drawn))
    return {name: np.array(values) for name, values in found.items()}


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def rows(name: str, truth: Truth, checks: int, found: Mapping[str, FloatArray]) -> tuple[list[str], list[str]]:
    """The rows of the table of labels and of that of missed objects."""

    def width(kind: str, true: float) -> float:
        return float(np.nanmean(found[kind]) - true)

    def held(kind: str, true: float) -> str:
        bounds = found[kind][np.isfinite(found[kind])]
        return f"{np.mean(bounds >= true - 1e-9):.1%}"

    wrong, missed = float(truth.wrong.mean()), truth.missed
    plain, even = width("plain", wrong), width("even", missed)
    ours, lost = width("certify", wrong), width("missed", missed)
    of_labels = [name, str(len(truth.wrong)), f"{wrong:.1%}", str(checks)]
    of_labels += [f"{100 * one:.1f}" for one in (plain, width("one by one", wrong), width("unranked", wrong), ours)]
    of_labels += [f"{ours / plain:.2f}", held("plain", wrong), held("certify", wrong)]
    most = float((truth.region_missed / region_weights(truth.labels.tolist())).max())
    of_missed = [name, str(len(truth.labels)), f"{missed:.1%}", f"{most:.1f}", str(checks)]
    of_missed += [f"{100 * even:.1f}", f"{100 * lost:.1f}", f"{lost / even:.2f}", held("missed", missed)]
    of_missed += [f"{np.isnan(found['missed']).mean():.0%}"]
    of_missed += [f"{100 * width('normal', missed):.1f}", held("normal", missed)]
    return of_labels, of_missed


def add_set_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `labeled_set` reads, and the sets."""
    shared = Path(__file__).resolve().parents[2] / "shared"
    parser.add_argument("--data", type=Path, default=shared / "data")
    parser.add_argument("--teacher", type=Path, default=shared / "baselines" / "onnx_teacher.py")
    parser.add_argument("--work", type=Path, help="where the labeled sets are kept (default: a temporary folder)")
    parser.add_argument("--sets", nargs="+", default=["scenes", "fruits_nuts", "mushrooms", "coco_permissive"])


def main() -> None:
    """Prints the two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add_set_arguments(parser)
    parser.add_argument("--checks", type=int, nargs="+", default=[60, 120])
    parser.add_argument("--most-missed", type=float, default=MOST_MISSED, help="as of certify (default: %(default)g)")
    parser.add_argument("--replicates", type=int, default=1000)
    args = parser.parse_args()
    of_labels, of_missed = [], []
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.sets:
            truth = labeled_set(name, args, args.work or Path(temporary))
            for checks in args.checks:
                found = measure(truth, checks, args.replicates, args.most_missed)
                for into, row in zip((of_labels, of_missed), rows(name, truth, checks, found), strict=True):
                    into.append(row)
    head = ["set", "labels", "wrong", "checks", "plain", "one by one", "unranked", "certify"]
    head += ["ratio", "plain held", "certify held"]
    print("Labels that are wrong\n" + table(head, of_labels))
    head = ["set", "regions", "missed", "most", "checks", "even", "certify", "ratio", "held", "none", "normal", "held"]
    print("\nObjects that are missed\n" + table(head, of_missed))


if __name__ == "__main__":
    main()
