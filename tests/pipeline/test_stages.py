"""The stages together, on a tiny target trained for a handful of steps."""

from __future__ import annotations

import dataclasses
import json
import re
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.config import parse
from autodistill_rfdetr_seg.core.errors import DataError, GateError, UsageError
from autodistill_rfdetr_seg.core.types import ImageLabels
from autodistill_rfdetr_seg.evaluation import check_gates
from autodistill_rfdetr_seg.evaluation.gold_sets import read_gold
from autodistill_rfdetr_seg.images.image_opening import open_image
from autodistill_rfdetr_seg.labels.base_source import source_of
from autodistill_rfdetr_seg.pipeline.runs import run as whole_run
from autodistill_rfdetr_seg.pipeline.stages import build_stage, label_stage
from autodistill_rfdetr_seg.system.files import fingerprint
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.paths import ROOT
from helpers.square_photos import config_of, photo, scenes, written


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; tests that change something in it put it back or only add."""
    folder = scenes(tmp_path_factory.mktemp("whole"))
    path = written(folder / "pipeline.yaml", config_of(folder))
    assert main(["run", str(path), "--output", str(folder / "run"), "-q"]) == 0
    return folder


def times(run: Path) -> dict[str, int]:
    names = ("dataset/dataset.json", "training/run.json", "evaluation/metrics.json", "report.html")
    return {name: (run / name).stat().st_mtime_ns for name in names}


@pytest.mark.train
def test_a_whole_run(finished: Path) -> None:
    run = finished / "run"
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    # The gold set holds every image; only those of the test split may count.
    assert (metrics["reference"], metrics["images"], metrics["images_left_out"]) == ("gold", 2, 10)
    assert metrics["base"]["mask"]["ap50"] == pytest.approx(1)
    assert metrics["recovery"] == pytest.approx(metrics["target"]["mask"]["ap"] / metrics["base"]["mask"]["ap"])
    assert set(metrics["base"]["mask"]) >= {"ap", "ap50", "ap75"}
    assert set(metrics["base"]["box"]) == set(metrics["base"]["mask"])
    record = json.loads((run / "training" / "run.json").read_text())
    assert record["checkpoint_sha256"] == metrics["fingerprints"]["checkpoint_sha256"]
    assert record["class_names"] == ["square"]
    page = (run / "report.html").read_text()
    assert "square" in page
    assert Image.open(run / "samples.png").size[0] > 200
    # The run says what made it: the same file runs it again.
    assert yaml.safe_load((run / "pipeline.yaml").read_text())["target"]["model"]["resolution"] == 48


@pytest.mark.train
def test_again_does_nothing_and_says_so(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = times(finished / "run")
    assert main(["run", str(finished / "pipeline.yaml"), "--output", str(finished / "run"), "--resume"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("(nothing to do)") == 5
    assert "base" in captured.out
    assert times(finished / "run") == before


@pytest.mark.train
def test_a_changed_input_redoes_what_depends_on_it_and_no_more(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished / "run"
    before = times(run)
    args = ["run", str(finished / "pipeline.yaml"), "--output", str(run), "--resume"]
    assert main([*args, "--set", "evaluation.max_detections=7"]) == 0
    after = times(run)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"evaluation/metrics.json", "report.html"}
    assert "train: checkpoint" in capsys.readouterr().err
    assert main([*args, "-q"]) == 0


@pytest.mark.train
def test_stages_alone(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(finished / "run")
    assert main(["build", run]) == 0
    assert main(["train", run]) == 0
    assert main(["evaluate", run, "--json"]) == 0
    assert main(["report", run]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("nothing to do") == 4
    assert main(["evaluate", run, "--gate", "base.mask.ap50=0.9", "-q"]) == 0
    assert main(["evaluate", run, "--gate", "target.mask.ap50=1.1", "-q"]) == 5
    assert "was not met" in capsys.readouterr().err
    assert main(["evaluate", run, "--set", "evaluation.gates={}", "-q"]) == 0


@pytest.mark.train
def test_predict_a_folder_and_an_image(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"
    photo(folder / "deep" / "a.png")
    photo(folder / "b.jpg")
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    args = ["predict", str(finished / "run"), str(folder), "--output", str(tmp_path / "out"), "--confidence", "0"]
    assert main([*args, "--json", "-q"]) == 4
    result = json.loads(capsys.readouterr().out)
    assert sorted(result["images"]) == ["b.jpg", "deep/a.png"]
    assert list(result["failures"]) == ["torn.jpg"]
    data = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [image["file_name"] for image in data["images"]] == ["b.jpg", "deep/a.png"]
    assert len(data["annotations"]) == sum(counts["square"] for counts in result["images"].values())
    assert (tmp_path / "out" / "pictures" / "deep" / "a.png.png").is_file()
    assert main(["predict", str(finished / "run"), str(folder / "b.jpg"), "-q"]) == 0
    assert capsys.readouterr().out.startswith("b.jpg: ")
    # The thresholds of the last evaluation, which the run has.
    best = json.loads((finished / "run" / "evaluation" / "metrics.json").read_text())["target"]["per_class"]["square"]
    args = ["predict", str(finished / "run"), str(folder / "b.jpg"), "--confidence", "best", "-q"]
    assert main([*args, "--output", str(tmp_path / "best"), "--tiles", "24"]) == 0
    info = json.loads((tmp_path / "best" / "predictions.json").read_text())["info"]
    assert info["confidence"] == {"square": best["best_confidence"] or 0.5} and info["tiles"] == 24
    capsys.readouterr()
    assert main(["predict", str(finished / "run"), "https://example.org/b.jpg"]) == 2
    assert "--allow-url" in capsys.readouterr().err
    assert main(["predict", str(finished / "run"), str(folder / "b.jpg"), "--track"]) == 2


@pytest.mark.train
def test_predict_a_video(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    from autodistill_rfdetr_seg.images.video_writer import VideoWriter

    photo(tmp_path / "a.png")
    with VideoWriter(tmp_path / "clip.mp4", Fraction(5)) as writer:
        for _ in range(3):
            writer.write(open_image(tmp_path / "a.png").pixels)
    args = ["predict", str(finished / "run"), str(tmp_path / "clip.mp4"), "--confidence", "0", "-q"]
    assert main(args) == 2
    assert "--output" in capsys.readouterr().err
    assert main([*args, "--output", str(tmp_path / "out"), "--json", "--track"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == 3
    lines = [json.loads(line) for line in Path(result["lines"]).read_text().splitlines()]
    assert sum(len(line["instances"]) for line in lines) == sum(result["counts"].values()) > 0
    assert Path(result["video"]).stat().st_size > 500
    # What lies there is not written over.
    assert main([*args, "--output", str(tmp_path / "out")]) == 2


@pytest.mark.train
def test_without_gold_it_is_agreement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = scenes(tmp_path)
    path = written(folder / "p.yaml", config_of(folder, evaluation={}))
    assert main(["run", str(path), "--output", str(tmp_path / "run"), "-q"]) == 0
    assert "agreement, not truth" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert (metrics["reference"], metrics["base"], metrics["recovery"]) == ("base labels", None, None)


@pytest.fixture
def built(tmp_path: Path) -> tuple[Path, RunFolder]:
    folder = scenes(tmp_path)
    config, run = parse(config_of(folder)), RunFolder(tmp_path / "run")
    label_stage(config, run, source_of(config), progress=False)
    build_stage(config, run, progress=False)
    return folder, run


def test_gold_on_training_images_only_is_refused(built: tuple[Path, RunFolder], tmp_path: Path) -> None:
    folder, run = built
    seen = coco.read(run.dataset / "train")
    entries = [
        (f"images/{image.path.name}", ImageLabels(open_image(folder / "images" / image.path.name).record, ()))
        for image in seen.images
    ]
    coco.write(folder / "leaky.json", entries, seen.classes, {})
    data = json.loads((folder / "leaky.json").read_text())
    data["annotations"] = [
        {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 5, 5], "area": 25}
        | {"segmentation": [[1, 1, 6, 1, 6, 6, 1, 6]]}
    ]
    (folder / "leaky.json").write_text(json.dumps(data))
    config = parse(config_of(folder, evaluation={"gold": [str(folder / "leaky.json")]}))
    with pytest.raises(DataError, match="held out: all 7"):
        read_gold(config, run)


def test_several_gold_sets_keep_their_names(built: tuple[Path, RunFolder]) -> None:
    folder, run = built
    (folder / "second.json").write_bytes((folder / "gold.json").read_bytes())
    config = parse(config_of(folder, evaluation={"gold": [str(folder / "gold.json"), str(folder / "second.json")]}))
    gold = read_gold(config, run)
    assert gold.sets == ("gold", "second")
    assert {image.image_id.split("/")[0] for image in gold.truth.images} == {"gold", "second"}
    assert gold.left_out == 20


def test_gates() -> None:
    metrics = {"target": {"mask": {"ap50": 0.5, "ap_small": None}}}

    check_gates({"target.mask.ap50": 0.5}, metrics)
    with pytest.raises(GateError, match=r"0\.500"):
        check_gates({"target.mask.ap50": 0.51}, metrics)
    with pytest.raises(GateError, match="undefined"):
        check_gates({"target.mask.ap_small": 0.0}, metrics)
    with pytest.raises(UsageError, match="names no metric"):
        check_gates({"target.mask.app": 0.0}, metrics)


@pytest.mark.parametrize(
    ("gold", "wrong"),
    [
        (["a.json"], "target.mask.map"),
        (["a.json"], "held_out.image"),
        (["a.json"], "sets.a.target.mask.ap"),
        (["a.json", "b.json"], "sets.c.target.mask.ap"),
        ([], "held_out.images"),
        ([], "all.base.mask.ap"),
    ],
)
def test_a_gate_that_names_no_metric_is_refused_before_the_run(tmp_path: Path, gold: list[str], wrong: str) -> None:
    folder = scenes(tmp_path, count=1)
    gates = {"target.mask.ap50": 0.5, "base.per_class.square.ap": 0.1}
    if gold:
        gates |= {"all.base.per_class.square.ap": 0.1, "held_out.images": 1}
    if len(gold) > 1:
        gates["sets.b.target.mask.ap"] = 0.1
    with pytest.raises(UsageError, match=f"'{re.escape(wrong)}' names no metric"):
        files = [str(written(tmp_path / name, {})) for name in gold]
        config = config_of(folder, evaluation={"gold": files, "gates": gates | {wrong: 0.5}})
        whole_run(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_pipelines_in_the_repository_are_valid() -> None:
    from autodistill_rfdetr_seg.system.config_files import load

    found = sorted((ROOT / "pipelines").glob("*.yaml"))
    assert found
    for path in found:
        config = load(path)
        assert Path(config.images).is_absolute()
        if config.base.segmenter == "onnx-sam":
            continue  # its weights are files of the user's; test_pipeline_files.py runs it with some
        assert source_of(config).provenance.base == config.base.name


def test_fingerprints_do_not_depend_on_key_order() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})
    assert dataclasses.is_dataclass(RunFolder)
