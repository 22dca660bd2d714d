"""`pipelines/roboflow_round_trip.py` against a server on loopback that speaks Roboflow's API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.roboflow_api import calls, deploying, keys
from helpers.fake_roboflow import KEY, serving
from helpers.pipeline_scripts import script
from helpers.square_photos import config_of, filled, scenes, written

VERSION: dict[str, Any] = {"augmentation": {}, "created": 1, "images": 4, "preprocessing": {}, "splits": {}}


@pytest.mark.train
def test_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder, gold, out = scenes(tmp_path, 8), filled(tmp_path / "gold", 2), tmp_path / "out"
    options = config_of(folder, evaluation={"gold": [str(gold)]})
    options["split"] = {"train": 0.75, "valid": 0.25, "test": 0}
    args = [str(written(tmp_path / "p.yaml", options)), "--workspace", "shop", "--project", "washers", "-q"]
    args += ["--output", str(out), "--set=target.device=cpu"]
    module = script("roboflow_round_trip.py")
    with serving() as fake:
        for name, value in (("API_URL", fake.url), ("INSTANCE_SEGMENTATION_URL", f"{fake.url}/served")):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv(keys.KEY, KEY)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setattr(calls, "PAUSE", 0.01)
        monkeypatch.setattr(deploying, "POLL", 0.01)
        fake.classes, fake.versions["1"] = ("square",), VERSION.copy()

        assert module.main(args) == 0, capsys.readouterr().err
        assert "8 images sent, 0 already there; 0 failed" in capsys.readouterr().out
        assert len(fake.images) == 8 and not (out / "training").exists()

        # What a person does there: one image of train loses its object. Names come back with a hash.
        data = json.loads((out / "dataset" / "train" / coco.ANNOTATIONS).read_text())
        data["annotations"] = [one for one in data["annotations"] if one["image_id"] != 1]
        (emptied,) = (one["file_name"] for one in data["images"] if one["id"] == 1)
        for image in data["images"]:
            image["extra"] = {"name": image["file_name"]}
            image["file_name"] = image["file_name"].replace(".png", "_png.rf.0f3a.jpg")
        export = tmp_path / "export" / "train"
        export.mkdir(parents=True)
        (export / coco.ANNOTATIONS).write_text(json.dumps(data))

        whole = [{"x": x, "y": y} for x, y in ((0, 0), (64, 0), (64, 64), (0, 64))]
        one = {"class": "square", "confidence": 0.9, "x": 32, "y": 32, "width": 64, "height": 64, "points": whole}
        fake.predictions = lambda request: {"image": {"width": 64, "height": 64}, "predictions": [one]}
        back = [*args, "--corrected", str(export.parent), "--version", "1"]
        assert module.main(back) == 0, capsys.readouterr().err
        said = capsys.readouterr().out
        assert "train: 1 corrected, 5 unchanged" in said and "not of this run" not in said
        assert f"serving at {fake.url}/served/washers/1" in said and "served  mask AP 1.000" in said
        rows = coco.read_rows(out / "dataset" / "train")
        assert [name for name, told in rows.items() if not told] == [emptied]
        # The same again, and the endpoint is asked to be better than it can be.
        assert module.main([*back, "--tolerance", "-1.5"]) == 5
        assert "loses" in capsys.readouterr().err
    assert module.main([*args, "--version", "1"]) == 2
    assert "go together" in capsys.readouterr().err
