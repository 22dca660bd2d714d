"""To Roboflow and back, with the real SDK against a server on loopback that speaks the same API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import RemoteError, UsageError
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, Instance
from autodistill_rfdetr_seg.images.image_opening import open_image
from autodistill_rfdetr_seg.roboflow_api import EndpointModel, calls, cloud, deploying, keys, pushing, sdk
from autodistill_rfdetr_seg.system.files import write_json
from autodistill_rfdetr_seg.targets import RFDETRSegNano
from helpers.fake_roboflow import DROP, KEY, Fake, Request, serving
from helpers.paths import ROOT
from helpers.shapes import disc
from helpers.tiny_training import QUICK, TINY, write_coco

HEIGHT, WIDTH = 60, 80
CLASSES = Classes(("washer", "bolt"))
VERSION: dict[str, Any] = {"augmentation": {}, "created": 1, "images": 4, "preprocessing": {}, "splits": {}}
PLACE = ("--workspace", "shop", "--project", "washers")
RING = disc(HEIGHT, WIDTH, 40, 30, 20) & ~disc(HEIGHT, WIDTH, 40, 30, 9)
PAIR = disc(HEIGHT, WIDTH, 20, 30, 12) | disc(HEIGHT, WIDTH, 60, 30, 8)
DISC = disc(HEIGHT, WIDTH, 30, 20, 15)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fake]:
    with serving() as fake:
        monkeypatch.setenv("API_URL", fake.url)
        monkeypatch.setenv("INSTANCE_SEGMENTATION_URL", f"{fake.url}/served")
        monkeypatch.setenv(keys.KEY, KEY)
        # A file of the SDK's that would send everything elsewhere, with another key.
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        config = tmp_path / "home" / ".config" / "roboflow" / "config.json"
        write_json(config, {"API_URL": "http://127.0.0.1:9", "ROBOFLOW_API_KEY": "other"})
        monkeypatch.setattr(calls, "PAUSE", 0.01)
        monkeypatch.setattr(cloud, "POLL", 0.01)
        monkeypatch.setattr(deploying, "POLL", 0.01)
        yield fake


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a dataset of four images, in two splits; one of them without objects."""
    content = {"train": {"disc": DISC, "ring": RING, "pair": PAIR}, "valid": {"none": None}}
    for split, images in content.items():
        entries = []
        for index, (name, mask) in enumerate(images.items()):
            path = tmp_path / "run" / "dataset" / split / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((HEIGHT, WIDTH, 3), 30 + index + 9 * (split == "valid"), np.uint8)
            Image.fromarray(pixels).save(path)
            found = () if mask is None else (Instance(1, masks.encode(mask), 0.9),)
            entries.append((path.name, ImageLabels(open_image(path, path.name).record, found)))
        coco.write(tmp_path / "run" / "dataset" / split / coco.ANNOTATIONS, entries, CLASSES, {})
    index = {"classes": list(CLASSES.names), "counts": {}, "fingerprint": "x"}
    write_json(tmp_path / "run" / "dataset" / "dataset.json", index)
    return tmp_path / "run"


def push(run: Path, *more: str) -> int:
    return main(["push", str(run), *PLACE, "--json", "-q", *more])


def sent_masks(request: Request) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The COCO file in an annotation request, and its masks as pycocotools draws them."""
    from pycocotools import mask as coco_mask

    content = json.loads(request.json["annotationFile"])
    drawn = [
        coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(row["segmentation"], HEIGHT, WIDTH)))
        for row in content["annotations"]
        if row["segmentation"]
    ]
    return content, drawn


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one.astype(bool) & other).sum() / (one.astype(bool) | other).sum())


def test_a_push_sends_each_image_with_split_tags_batch_and_masks(
    run: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(run, "--split-from-run", "--tag", "a b", "--tag", "c", "--batch", "Night & day") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["uploaded"], result["annotated"], result["instances"], result["simplified"]) == (4, 4, 3, 2)
    assert result["images"] == {"train": 3, "valid": 1, "test": 0}
    uploads = {request.parts()["filename"].decode(): request for request in fake.of("/upload")}
    for name, split in (("disc", "train"), ("ring", "train"), ("pair", "train"), ("none", "valid")):
        request, file = uploads[f"{name}.png"], run / "dataset" / split / f"{name}.png"
        assert request.path == "/dataset/washers/upload"
        assert request.parts()["file"] == file.read_bytes()
        assert request.parts()["split"] == split.encode()
        assert (request.query["tag"], request.query["batch"]) == (["a b", "c"], ["Night & day"])
    annotations = {}
    for request in fake.of("/annotate/"):
        content, drawn = sent_masks(request)
        assert request.query["jobName"] == ["Night & day"]
        annotations[content["images"][0]["file_name"]] = (request, content, drawn)
    assert [c["name"] for c in annotations["disc.png"][1]["categories"]] == ["washer", "bolt"]
    assert annotations["disc.png"][1]["annotations"][0]["category_id"] == 2
    assert iou(annotations["disc.png"][2][0], DISC) > 0.97
    assert iou(annotations["ring.png"][2][0], disc(HEIGHT, WIDTH, 40, 30, 20)) > 0.97
    assert iou(annotations["pair.png"][2][0], PAIR) > 0.97
    assert len(annotations["pair.png"][1]["annotations"][0]["segmentation"]) == 2
    image_id = fake.images[(run / "dataset" / "train" / "disc.png").read_bytes()]
    assert annotations["disc.png"][0].path == f"/dataset/washers/annotate/{image_id}"
    rows = annotations["none.png"][1]
    assert {row["image_id"] for row in rows["annotations"]}.isdisjoint({row["id"] for row in rows["images"]})


def test_without_split_from_run_all_go_to_train(run: Path, fake: Fake) -> None:
    assert push(run) == 0
    assert {request.parts()["split"] for request in fake.of("/upload")} == {b"train"}
    assert {request.query["batch"][0] for request in fake.of("/upload")} == {"run"}


def test_a_dry_run_sends_nothing_and_needs_no_key(
    run: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(keys.KEY)
    assert push(run, "--dry-run") == 0
    result = json.loads(capsys.readouterr().out)
    size = sum(path.stat().st_size for path in (run / "dataset").rglob("*.png"))
    assert (result["uploaded"], result["bytes"], result["instances"], result["simplified"]) == (4, size, 3, 2)
    assert fake.requests == []
    assert not (run / "roboflow.json").exists()
    assert push(run) == 2
    assert "ROBOFLOW_API_KEY is not set" in capsys.readouterr().err
    monkeypatch.setenv(keys.KEY, "Sekret&x=1")
    assert push(run) == 2
    assert "Sekret" not in capsys.readouterr().err


def test_what_was_sent_is_not_sent_again(run: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.failures["/annotate/"] = [400]
    assert push(run) == 4
    first = json.loads(capsys.readouterr().out)
    assert (first["uploaded"], first["annotated"], len(first["failures"])) == (4, 3, 1)
    fake.requests.clear()
    assert push(run) == 0
    second = json.loads(capsys.readouterr().out)
    assert (second["uploaded"], second["skipped"], second["annotated"]) == (0, 4, 1)
    assert (len(fake.of("/upload")), len(fake.of("/annotate/"))) == (0, 1)
    fake.requests.clear()
    assert push(run) == 0
    assert [request.method for request in fake.requests] == ["GET"]
    # Remembered by content: the same bytes under another name are the same image.
    assert set(json.loads((run / "roboflow.json").read_text())["shop/washers"]["images"]) != {"disc.png"}


def test_what_the_project_has_is_left_as_people_left_it(
    run: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.images[(run / "dataset" / "train" / "disc.png").read_bytes()] = "theirs"
    fake.annotated.add("theirs")
    assert push(run) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["uploaded"], result["duplicates"], result["kept"], result["annotated"]) == (3, 1, 1, 3)
    fake.requests.clear()
    assert push(run, "--overwrite") == 0
    assert "/dataset/washers/annotate/theirs" in {request.path for request in fake.of("/annotate/")}
    assert [request.query["overwrite"] for request in fake.of("/annotate/")] == [["true"]] * 4


@pytest.mark.parametrize("codes", [[429, 429], [500], [503, DROP], [DROP]])
def test_what_passes_is_tried_again(
    run: Path, fake: Fake, codes: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.failures["/upload"] = list(codes)
    assert push(run) == 0
    assert json.loads(capsys.readouterr().out)["uploaded"] == 4
    assert len(fake.of("/upload")) == 4 + len(codes)


def test_one_failing_image_does_not_stop_the_rest(
    run: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pushing, "WORKERS", 1)
    fake.failures["/upload"] = [500] * calls.TRIES
    assert push(run) == 4
    result = json.loads(capsys.readouterr().out)
    assert result["uploaded"] == 3
    assert list(result["failures"]) == ["train/disc.png"]
    assert "500" in result["failures"]["train/disc.png"]


def test_a_refused_key_stops_at_once(
    run: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(keys.KEY, "wrong-Key")
    assert push(run) == 1
    captured = capsys.readouterr()
    assert "401" in captured.err and "ROBOFLOW_API_KEY" in captured.err
    assert "wrong-Key" not in captured.err + captured.out
    assert len(fake.requests) == 1


def test_create_makes_a_private_project_of_the_right_type(
    run: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["push", str(run), "--workspace", "shop", "--project", "nuts", "-q"]
    assert main(args) == 1
    assert "--create" in capsys.readouterr().err
    assert main([*args, "--create"]) == 0
    made = fake.of("/shop/projects")[0].json
    assert made == {"name": "nuts", "type": "instance-segmentation", "license": "Private", "annotation": "nuts"}
    assert fake.of("/upload")[0].path == "/dataset/nuts/upload"
    fake.projects["boxes"] = "object-detection"
    assert main(["push", str(run), "--workspace", "shop", "--project", "boxes", "-q"]) == 2
    assert "object-detection" in capsys.readouterr().err


@pytest.mark.slow
def test_the_key_appears_nowhere(run: Path, fake: Fake) -> None:
    """The server's messages hold the URL with the key; a process of its own, so that nothing said is missed."""
    fake.failures["/upload"] = [400, DROP, 400, 400]
    fake.failures["/annotate/"] = [400]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "autodistill_rfdetr_seg", "push", str(run), *PLACE, "--debug"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    said = done.stdout + done.stderr
    said += "".join(path.read_text(errors="replace") for path in run.rglob("*") if path.is_file())
    assert "failed at" in said
    assert "Sekret" not in said


@pytest.mark.parametrize("api", ["http://127.0.0.1:9", None])
def test_the_key_is_in_no_traceback(
    run: Path, fake: Fake, api: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if api:
        monkeypatch.setenv("API_URL", api)
    fake.failures["/shop/washers"] = [400]
    caplog.set_level("DEBUG")
    with pytest.raises(RemoteError) as caught:
        main(["push", str(run), *PLACE, "--debug"])
    assert "Sekret" not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_nothing_of_the_sdk_stays_changed(fake: Fake) -> None:
    import logging
    import warnings

    stdin, formatting = sys.stdin, warnings.formatwarning
    with sdk.contained() as printed:
        print("chatter")
        with pytest.raises(EOFError):
            input("sure? ")
    assert printed.getvalue().startswith("chatter")
    assert (sys.stdin, warnings.formatwarning) == (stdin, formatting)
    assert not logging.getLogger("urllib3.connectionpool").filters
    assert "ROBOFLOW_CONFIG_DIR" not in os.environ


@pytest.mark.parametrize(
    "url",
    ["http://example.com/a/1", "ftp://example.com", "https://user:pw@example.com/a/1", "https://e.com/?api_key=x"],
)
def test_the_key_goes_to_no_such_url(url: str) -> None:
    with pytest.raises(UsageError):
        EndpointModel(url, class_names=["a"])
    if url.startswith("http:"):
        assert EndpointModel(url, class_names=["a"], insecure=True).url == url


def cloud_train(run: Path, *more: str) -> int:
    return main(["cloud-train", str(run), *PLACE, "--size", "small", "--json", "-q", *more])


def test_a_cloud_training_from_version_to_model(run: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert cloud_train(run, "--epochs", "7", "--augmentation", '{"flip": {"horizontal": true}}') == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["version"], result["training_id"], result["status"]) == (1, "t/7", "finished")
    assert result["models"][0]["metrics"] == {"map": 0.7}
    assert fake.of("/generate")[0].json == {"preprocessing": {}, "augmentation": {"flip": {"horizontal": True}}}
    assert fake.of("/v2/trainings")[0].json == {"modelType": "rfdetr-seg-small", "epochs": 7}
    assert [request.query["trainingId"] for request in fake.of("/get", "GET")] == [["t/7"], ["t/7"]]
    order = [request.path.rpartition("/")[2] for request in fake.requests]
    assert order.index("coco") < order.index("trainings")
    assert cloud_train(run, "--size", "tiny") == 2


def test_a_training_that_fails_or_takes_too_long_is_no_success(
    run: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.trainings = ["failed"]
    assert cloud_train(run) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "failed"
    fake.trainings = ["running"]
    assert cloud_train(run, "--version", "1", "--timeout", "0.05") == 1
    assert json.loads(capsys.readouterr().out)["status"] == "running"
    assert len(fake.of("/generate")) == 1


def test_ctrl_c_leaves_the_training_running_and_follow_finds_it(
    run: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(seconds: float) -> None:
        if fake.of("/get", "GET"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", interrupt)
        assert cloud_train(run) == 130
    assert "--follow" in capsys.readouterr().err
    assert not fake.of("/cancel") and not fake.of("/stop")
    assert cloud_train(run, "--follow") == 0
    assert json.loads(capsys.readouterr().out)["training_id"] == "t/7"
    assert len(fake.of("/v2/trainings")) == 1


@pytest.mark.parametrize("path", ["/generate", "/v2/trainings"])
def test_what_costs_is_never_asked_for_twice(run: Path, fake: Fake, path: str) -> None:
    fake.failures[path] = [DROP]
    assert cloud_train(run) == 1
    assert len(fake.of(path)) == 1


def answer(predictions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"image": {"width": WIDTH, "height": HEIGHT}, "predictions": predictions, "time": 0.1}


def square(name: str, score: float, x: int) -> dict[str, Any]:
    corners = [(x, 10), (x + 20, 10), (x + 20, 30), (x, 30)]
    points = [{"x": float(a), "y": float(b)} for a, b in corners]
    box = {"x": x + 10.0, "y": 20.0, "width": 20.0, "height": 20.0}
    return {**box, "class": name, "class_id": 0, "confidence": score, "points": points}


def with_rle(name: str, score: float, mask: np.ndarray) -> dict[str, Any]:
    rle = masks.encode(mask)
    return {"class": name, "confidence": score, "rle": {"size": [HEIGHT, WIDTH], "counts": rle.counts.decode()}}


def test_predict_at_an_endpoint_is_as_predict_here(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def predictions(request: Request) -> Any:
        import base64

        pixels = cv2.imdecode(np.frombuffer(base64.b64decode(request.body), np.uint8), cv2.IMREAD_COLOR)
        seen.append(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
        found = [square("washer", 0.6, 5), with_rle("bolt", 0.9, RING), square("bolt", 0.3, 5), square("nail", 0.9, 5)]
        return answer(found)

    fake.predictions = predictions
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    url = f"{fake.url}/served/washers/3"
    args = ["predict", "--endpoint", url, str(tmp_path / "photos"), "--confidence", "0.4"]
    named = ["--class", "washer", "--class", "bolt"]
    assert main([*args, *named, "--output", str(tmp_path / "found"), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"] == {"a.png": {"washer": 1, "bolt": 1}}
    assert "'nail'" in captured.err
    assert np.array_equal(seen[0], pixels)
    request = fake.of("/served/")[0]
    assert (request.query["confidence"], request.query["api_key"]) == (["40"], [KEY])
    truth = coco.read(tmp_path / "found" / "predictions.json")
    best, second = truth.images[0].instances
    assert np.array_equal(masks.decode(best.rle), RING)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[10:30, 5:25] = True
    assert iou(masks.decode(second.rle), expected) == 1
    assert (best.class_index, second.class_index) == (1, 0)
    assert (tmp_path / "found" / "pictures" / "a.png.png").is_file()
    assert KEY not in (tmp_path / "found" / "predictions.json").read_text()


def test_a_server_that_fails_on_one_image_is_asked_about_the_rest(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.predictions = lambda request: answer([square("a", 0.9, 5)])
    for name in "abc":
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(path)
    args = ["predict", "--endpoint", f"{fake.url}/served/a/1", "--class", "a", str(tmp_path / "photos"), "--json", "-q"]
    fake.failures["/served/"] = [0, 400]
    assert main(args) == 4
    result = json.loads(capsys.readouterr().out)
    assert (list(result["images"]), list(result["failures"])) == (["a.png", "c.png"], ["b.png"])
    fake.failures["/served/"] = [500] * calls.TRIES
    assert main(args) == 1
    assert "500" in capsys.readouterr().err


def test_an_endpoints_classes_are_the_projects(fake: Fake) -> None:
    assert EndpointModel(f"{fake.url}/washers/3").class_names == ("bolt", "washer")
    with pytest.raises(UsageError, match="not known"):
        EndpointModel(f"{fake.url}/elsewhere/3")


def test_a_redirect_is_not_followed(fake: Fake) -> None:
    fake.failures["/served/"] = [307]
    model = EndpointModel(f"{fake.url}/served/a/1", class_names=["a"])
    with pytest.raises(RemoteError, match="another address"):
        model.predict_batch([np.zeros((8, 8, 3), np.uint8)])
    assert not fake.of("/stolen")


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"outputs": []}, "no predictions"),
        ({"image": {"width": 3, "height": 3}, "predictions": []}, "3 x 3"),
        (answer([{"class": "a", "confidence": 0.9, "x": 1, "y": 1, "width": 2, "height": 2}]), "without masks"),
        (answer([{"class": "a", "confidence": 0.9, "rle": {"size": [HEIGHT, WIDTH], "counts": "1"}}]), "mask"),
        (answer([{"class": "a", "confidence": 0.9, "points": [{"x": 1}] * 3}]), "x and y"),
        (answer([{"class": "a"}]), "without class or confidence"),
    ],
)
def test_an_answer_that_is_none_is_refused(fake: Fake, said: Any, match: str) -> None:
    fake.predictions = lambda request: said
    with pytest.raises(RemoteError, match=match):
        EndpointModel(f"{fake.url}/served/a/1", class_names=["a"]).predict_batch(
            [np.zeros((HEIGHT, WIDTH, 3), np.uint8)]
        )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, trained for a step or two."""
    root = tmp_path_factory.mktemp("model")
    data = write_coco(root / "dataset", {"train": 2, "valid": 1}, ((1, "washer"), (2, "bolt")), used=2)
    RFDETRSegNano(device="cpu", **TINY).train(data, 1, output=root / "training", **QUICK)
    return root / "training" / "checkpoint_best_total.pth"


def deploy(checkpoint: Path, *more: str) -> int:
    return main(["deploy", str(checkpoint), *PLACE, "--version", "1", "--json", "-q", *more])


@pytest.mark.train
def test_deployed_is_said_when_the_endpoint_has_answered(
    checkpoint: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    import io
    import zipfile

    import torch

    fake.versions["1"] = VERSION.copy()
    fake.listed_after = 2
    fake.predictions = lambda request: {"predictions": []}
    fake.failures["/served/"] = [404, 400]
    assert deploy(checkpoint) == 0, capsys.readouterr().err
    result = json.loads(capsys.readouterr().out)
    assert result["endpoint"] == f"{fake.url}/served/washers/1"
    assert (result["model_type"], result["classes"]) == ("rfdetr-seg-nano", ["washer", "bolt"])
    assert fake.of("/uploadModel", "GET")[0].query["modelType"] == ["rfdetr-seg-nano"]
    sent = zipfile.ZipFile(io.BytesIO(fake.of("/signed", "PUT")[0].body))
    assert sent.read("class_names.txt").decode().split() == ["background_class83422", "washer", "bolt"]
    ours = torch.load(checkpoint, weights_only=False)["model"]
    theirs = torch.load(io.BytesIO(sent.read("weights.pt")), weights_only=False)["model"]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert len(fake.of("/served/")) == 3


@pytest.mark.train
def test_what_does_not_serve_is_not_deployed(checkpoint: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.versions["1"] = VERSION.copy()
    fake.listed_after = 10**6
    assert deploy(checkpoint, "--timeout", "0.1") == 1
    captured = capsys.readouterr()
    assert "not deployed after" in captured.err and captured.out == ""


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [("/uploadModel", 429, "already has"), ("/uploadModel", 500, "500"), ("/signed", 403, "403")],
)
def test_an_upload_that_fails_is_no_upload(fake: Fake, tmp_path: Path, path: str, status: int, said: str) -> None:
    """The SDK prints such an error, and comes back as if all were well."""
    fake.versions["1"] = VERSION.copy()
    fake.failures[path] = [status]
    (tmp_path / "model.zip").write_bytes(b"weights")
    bundle = SimpleNamespace(model_type="rfdetr-seg-nano", build_dir=tmp_path, archive_path=tmp_path / "model.zip")
    with sdk.contained() as printed:
        from roboflow.core.project import Project

        place = Project(KEY, fake.project("washers")).version(1)
        with pytest.raises(RemoteError, match="could not be uploaded") as caught:
            deploying._upload(place, bundle, printed)
    assert said in caught.value.message
    assert KEY not in caught.value.message and "?" not in caught.value.message


def test_a_model_that_cannot_be_converted_is_not_waited_for(fake: Fake) -> None:
    fake.versions["1"] = {**VERSION, "train": {"status": "failed"}}
    with sdk.contained(), pytest.raises(RemoteError, match="could not convert"):
        deploying._await("shop", "washers", 1, 60)


@pytest.mark.train
def test_other_classes_are_refused_before_anything_is_sent(
    checkpoint: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.classes = ("washer", "nut")
    assert deploy(checkpoint) == 1
    err = capsys.readouterr().err
    assert "only the checkpoint has 'bolt'; only the project has 'nut'" in err
    assert not fake.of("/uploadModel", "GET")
