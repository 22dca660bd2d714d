"""A dataset that lacks some of the images asked for says so: failed, not labelled yet, gone since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.labels.image_slices import in_slice
from helpers.commands import here
from helpers.lamps import annotations, arguments, scene
from helpers.square_photos import written
from helpers.tiny_pipeline import TINY


def built(run: Path, *more: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = here(["build", str(run), "--json", "-q", *more])
    return code, json.loads(out)


def names(run: Path) -> set[str]:
    return set(json.loads((run / "dataset" / "dataset.json").read_text())["images"])


def test_a_build_tells_which_shares_are_missing(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run, "--slice", "1/3")) == 0
    mine = [path.name for path in photos.iterdir() if in_slice(path.name, (1, 3))]
    code, out, _ = here(["build", str(run), "-q"])
    assert code == 4
    assert f"{24 - len(mine)} of 24 images are not labeled (slice 2/3, 3/3)" in out
    assert names(run) == set(mine)
    assert main(arguments(photos, run, "--slice", "3/3")) == 0
    code, result = built(run)
    missing = sorted(path.name for path in photos.iterdir() if in_slice(path.name, (2, 3)))
    assert (code, result["not_labelled"], result["slices"]) == (4, missing, ["2/3"])
    # There is nothing to do, and still something is missing.
    assert built(run) == (4, result)
    assert main(arguments(photos, run, "--slice", "2/3")) == 0
    code, result = built(run)
    assert (code, result["not_labelled"], result["slices"]) == (0, [], [])


def test_a_build_names_what_could_not_be_labelled(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    scene(photos / "raises.png", 32, (0, 0, 0))
    assert main(arguments(photos, run)) == 4
    code, out, _ = here(["build", str(run), "--confidence", "0.1", "-q"])
    assert (code, "failed  raises.png: " in out, "not labeled" in out) == (4, True, False), out
    # A share puts it right; the list of the whole run's failures still has it.
    scene(photos / "raises.png", 32)
    for share in ("1/2", "2/2"):
        assert main(arguments(photos, run, "--slice", share, "--resume")) == 0
    code, result = built(run)
    assert (code, result["failures"], len(names(run))) == (0, [], 25)


def test_a_photo_that_has_gone_is_left_out_and_named(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run, "--slice", "1/1")) == 0
    kept = (photos / "07.png").rename(tmp_path / "07.png")
    code, out, err = here(["build", str(run), "-q"])
    assert (code, "gone    07.png" in out, "07.png" in err) == (4, True, True), (out, err)
    assert main(arguments(photos, tmp_path / "without")) == 0
    assert annotations(run) == annotations(tmp_path / "without")
    before = (run / "dataset" / "dataset.json").stat().st_ino
    code, result = built(run)
    assert (code, result["gone"]) == (4, ["07.png"])
    assert (run / "dataset" / "dataset.json").stat().st_ino == before
    kept.rename(photos / "07.png")
    code, result = built(run)
    assert (code, result["gone"], "07.png" in names(run)) == (0, [], True)


def test_a_photo_that_went_after_the_build_is_in_the_dataset_until_it_is_built_anew(
    photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run)) == 0
    (photos / "07.png").unlink()
    code, result = built(run)
    assert (code, result["gone"], "07.png" in names(run)) == (0, [], True)
    code, result = built(run, "--confidence", "0.1")
    assert (code, result["gone"], "07.png" in names(run)) == (4, ["07.png"], False)
    # The run's labels are brought up to date without it.
    assert main(arguments(photos, run, "--resume")) == 0


def test_where_all_photos_have_gone_nothing_is_replaced(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run)) == 0
    before = annotations(run)
    photos.rename(tmp_path / "elsewhere")
    code, _, err = here(["build", str(run), "--confidence", "0.1", "-q"])
    assert (code, "24" in err, str(photos) in err) == (1, True, True), err
    assert annotations(run) == before


def test_a_photo_that_was_spoilt_after_it_was_labelled_costs_itself_alone(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(photos, run)) == 0
    (photos / "07.png").unlink()
    scene(photos / "07.png", 32, (0, 0, 0))
    code, out, err = here(arguments(photos, run, "--resume"))
    assert (code, "failed  07.png" in out) == (4, True), (out, err)
    assert names(run) == {path.name for path in photos.iterdir()} - {"07.png"}
    code, result = built(run, "--confidence", "0.1")
    assert (code, [one["path"] for one in result["failures"]]) == (4, ["07.png"])


def taken_away(photos: Path, gone: str, last: str) -> None:
    """The base takes the photo `gone` away once it has got `last`."""
    path = photos.parent / "base.py"
    away = f"""
        if image.shape[0] == 49:
            os.unlink({str(photos / gone)!r})
"""
    path.write_text(path.read_text().replace("        time.sleep(self.pause)\n", away, 1))
    Image.open(photos / last).resize((56, 49)).save(photos / last)


def test_a_photo_that_goes_while_others_are_labelled_is_named(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    taken_away(photos, "00.png", "23.png")
    code, out, err = here(arguments(photos, run))
    assert (code, "gone    00.png" in out) == (4, True), (out, err)
    assert len(names(run)) == 23


@pytest.mark.train
def test_a_whole_run_goes_on_without_it_and_tells(photos: Path, tmp_path: Path) -> None:
    taken_away(photos, "00.png", "23.png")
    base = {"name": f"{photos.parent / 'base.py'}:Bright"}
    config = {"images": str(photos), "ontology": {"bright": "lamp"}, "base": base, "target": TINY}
    path = written(tmp_path / "pipeline.yaml", config)
    code, _, err = here(["run", str(path), "--output", str(tmp_path / "run"), "-q"])
    assert (code, "00.png" in err) == (4, True), err
