"""Images are searched once in a command; a gold file is hashed once in an evaluation, a failed one in a build."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.config import parse
from autodistill_rfdetr_seg.evaluation.gold_predictions import base_predictions
from autodistill_rfdetr_seg.evaluation.gold_sets import read_gold
from autodistill_rfdetr_seg.labels.label_account import read_account
from autodistill_rfdetr_seg.pipeline import stages
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.square_photos import label_args, photo


@pytest.mark.parametrize("source", ["photos", "list.txt", "photos/*.png"])
def test_images_are_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    for number in range(4):
        photo(tmp_path / "photos" / f"{number}.png", 4 + number)
    (tmp_path / "list.txt").write_text("photos/0.png\nphotos/2.png\nphotos/3.png\n")
    searched = []
    search = stages.find_images

    def counted(*args: object, **kwargs: object) -> object:
        searched.append(args[0])
        return search(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "find_images", counted)
    assert main(label_args(tmp_path / source, tmp_path / "run")) == 0
    assert len(searched) == 1
    names = read_account(tmp_path / "run" / "labels").images
    assert names == (("0.png", "2.png", "3.png") if source == "list.txt" else ("0.png", "1.png", "2.png", "3.png"))


def count_hashes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Counter[str]:
    """How often each file in the folder is hashed from now on, by name."""
    hashed: Counter[str] = Counter()
    for name, module in list(sys.modules.items()):
        if name.startswith("autodistill_rfdetr_seg.") and (original := vars(module).get("file_sha256")):

            def counted(path: Path, original: object = original) -> str:
                if Path(path).parent == folder:
                    hashed[Path(path).name] += 1
                return original(path)  # type: ignore[operator, no-any-return]

            monkeypatch.setattr(module, "file_sha256", counted)
    return hashed


def test_a_gold_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        photo(tmp_path / "photos" / f"{number}.png", 4 + 2 * number)
        photo(tmp_path / "gold" / f"{number}.png", 5 + 2 * number)
    assert main(label_args(tmp_path / "photos", tmp_path / "run")) == 0
    assert main(label_args(tmp_path / "gold", tmp_path / "goldrun", "--split", "1,0,0")) == 0
    run = RunFolder(tmp_path / "run")
    gold = tmp_path / "goldrun" / "dataset" / "train"
    config = parse(
        {
            "images": str(tmp_path / "photos"),
            "ontology": {"red": "square"},
            "base": {"name": "threshold"},
            "evaluation": {"gold": [str(gold)]},
        }
    )
    hashed = count_hashes(monkeypatch, gold)
    found = read_gold(config, run)
    predictions = base_predictions(config, run, found, progress=False)
    assert predictions is not None and [len(one.instances) for one in predictions] == [1] * 6
    assert hashed == {path.name: 1 for path in gold.glob("*.png")} and len(hashed) == 6


def test_a_failed_file_is_hashed_once_in_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, run = tmp_path / "photos", tmp_path / "run"
    for number in range(5):
        photo(photos / f"{number}.png", 4 + 2 * number)
    (photos / "broken.png").write_bytes(b"no image")
    assert main(label_args(photos, run)) == 4
    # Slices label it now; the list of the whole run still has the failure.
    photo(photos / "broken.png", 20)
    assert main(label_args(photos, run, "--slice", "1/1", "--resume")) == 0
    hashed = count_hashes(monkeypatch, photos)
    assert main(["build", str(run), "--confidence", "0.01", "-q"]) == 0
    assert hashed == {"broken.png": 1}
