"""Measures what tuned rules gain: chosen on one half of the images, scored on the other; and what is taken of noise.

    python benchmarks/tuning.py [--shared ../shared] [--splits 20] [--cache DIR] [--sets mushrooms …]
    python benchmarks/tuning.py --noise 200

The gain is that of the F1 of labels at mask IoU 0.5 over the default rules, in the half that was not seen. `naive`
takes the same steps without asking whether a gain is above chance, up to as many as there are rules.

With `--noise` no rule helps: the labels of 60 images are drawn, and each value of each of 12 rules changes by
chance alone how many of them are right. A run counts if anything is taken.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from calibration import halves
from labeled_gold import SETS, labeled_gold

from autodistill_rfdetr_seg.core.config import RefineConfig
from autodistill_rfdetr_seg.core.plain_text import table
from autodistill_rfdetr_seg.evaluation.label_tuning import Candidates, LabelCounts
from autodistill_rfdetr_seg.evaluation.rule_search import f1_of, search_rules

IMAGES, RULES, VALUES = 60, 12, 5


def naive_rules(count: LabelCounts, candidates: Candidates, images: npt.NDArray[np.int64], steps: int) -> RefineConfig:
    """The best value of each rule in turn, on these images."""
    current = RefineConfig()
    for _ in range(steps):
        every = [one for settings in candidates.values(current).values() for one in settings]
        current = max([current, *every], key=lambda one: f1_of(count(one)[images]))
    return current


def rows_of(name: str, shared: Path, cache: Path, splits: int) -> list[list[str]]:
    """The rows of a gold set."""
    from tqdm import tqdm

    truth, labels = labeled_gold(name, shared, cache)
    count, candidates = LabelCounts(truth, labels), Candidates.from_labels(truth, labels)
    gains: dict[str, list[float]] = {"tune": [], "naive": []}
    taken = []
    for first, second in tqdm(list(halves(len(truth.images), splits)), desc=name, mininterval=10):
        found = search_rules(count, RefineConfig(), candidates.values, first)
        taken.append(sum(one.taken for step in found.steps for one in step))
        settings = {"tune": found.setting, "naive": naive_rules(count, candidates, first, 3)}
        base = f1_of(count(RefineConfig())[second])
        for method, rules in settings.items():
            gains[method].append(f1_of(count(rules)[second]) - base)
    before = f1_of(count(RefineConfig()))
    rows = []
    for method, values in gains.items():
        changes = f"{np.mean(taken):.1f}" if method == "tune" else "up to 3"
        worse = f"{np.mean(np.array(values) < 0):.0%}"
        spread = f"{min(values):+.3f} … {max(values):+.3f}"
        rows.append([name, f"{before:.3f}", method, changes, f"{np.mean(values):+.3f}", spread, worse])
    return rows


class Noise:
    """Counts that no setting changes but by chance: each setting draws the right labels of a third of images again."""

    start = (0,) * RULES

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.labels, self.gold = self.rng.poisson(8, IMAGES), self.rng.poisson(8, IMAGES)
        self.first = self._right()
        self.drawn = {self.start: self._counts(self.first)}

    def count(self, setting: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """The counts of each image."""
        if setting not in self.drawn:
            same = self.rng.random(IMAGES) > 1 / 3
            self.drawn[setting] = self._counts(np.where(same, self.first, self._right()))
        return self.drawn[setting]

    def _right(self) -> npt.NDArray[np.int64]:
        return self.rng.binomial(np.minimum(self.labels, self.gold), 0.7)

    def _counts(self, right: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.stack([right, self.labels, self.gold], axis=1)


def noise_values(setting: tuple[int, ...]) -> dict[str, list[tuple[int, ...]]]:
    """The settings that differ in one rule."""
    return {
        str(at): [(*setting[:at], value, *setting[at + 1 :]) for value in range(VALUES) if value != setting[at]]
        for at in range(RULES)
    }


def noise(seeds: int) -> str:
    """How often something is taken where no rule helps."""
    taken = 0
    for seed in range(seeds):
        found = search_rules(Noise(seed).count, Noise.start, noise_values, np.arange(IMAGES))
        taken += any(one.taken for step in found.steps for one in step)
    return f"noise: something is taken in {taken} of {seeds} runs ({taken / seeds:.1%})"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "labeled_gold")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--noise", type=int, metavar="SEEDS")
    args = parser.parse_args()
    if args.noise:
        print(noise(args.noise))
        return
    rows = [row for name in args.sets for row in rows_of(name, args.shared, args.cache, args.splits)]
    print(table(["set", "F1 before", "method", "changes", "gain", "range", "worse"], rows))


if __name__ == "__main__":
    main()
