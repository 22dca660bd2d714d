"""Prediction by the actors of a real Ray cluster gives the files of one process; what Ray cannot do is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import predict_images, watch_folder
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.errors import DataError, MissingInputError, UsageError
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.predict.prediction_journal import PredictionJournal
from autodistill_rfdetr_seg.predict.prediction_threads import FoundInstances, ImagePrediction
from autodistill_rfdetr_seg.predict.ray_prediction import PredictionWork
from autodistill_rfdetr_seg.runtime.prediction_rules import PredictionRules
from autodistill_rfdetr_seg.system.versions import importable
from autodistill_rfdetr_seg.targets.inference.export_record import model_sha256
from autodistill_rfdetr_seg.targets.training.training_folder import checkpoint_of
from helpers.commands import here
from helpers.processes import are_gone
from helpers.ray_cluster import ray_cluster
from helpers.red_model import Reds
from helpers.tiny_training import draw

needs_ray = pytest.mark.skipif(not importable("ray"), reason="ray is not installed")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten pictures, one of them much larger than a tile of 80 pixels, and a broken one."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for at in range(9):
        Image.fromarray(draw(at)[0]).save(folder / ("deep" if at % 2 else "") / f"{at}.png")
    Image.fromarray(np.tile(draw(3)[0], (3, 3, 1))).save(folder / "large.png")
    (folder / "4 broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def files_of(output: Path) -> dict[str, bytes]:
    """What was written; the lines, which come in the order in which they are done, are sorted."""
    found = {p.relative_to(output).as_posix(): p.read_bytes() for p in output.rglob("*") if p.is_file()}
    found["predictions.jsonl"] = b"".join(sorted(found["predictions.jsonl"].splitlines(keepends=True)))
    return found


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """As in an actor of one CPU: with more threads, sums are made in another order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@needs_ray
@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
def test_two_nodes_go_on_with_the_files_of_one_process_and_give_the_same(
    speaking_run: Path, photos: Path, tmp_path: Path
) -> None:
    options = ["--confidence", "0.1", "--tiles", "80", "--device", "cpu"]
    command = ["predict", str(speaking_run), str(photos), *options, "-q", "--json"]
    code, out, _ = here([*command, "--output", str(tmp_path / "alone")])
    assert code == 4 and json.loads(out)["duplicates"] and len(json.loads(out)["images"]) == 10
    expected = files_of(tmp_path / "alone")
    assert len(expected["predictions.json"]) > 2000
    # As after a kill with three images done.
    found = tmp_path / "found"
    shutil.copytree(tmp_path / "alone", found)
    (found / "predictions.json").unlink()
    lines = found / "predictions.jsonl"
    done = b"".join(lines.read_bytes().splitlines(keepends=True)[:3])
    lines.write_bytes(done)
    for picture in (found / "pictures").rglob("*.png"):
        if f'"{picture.relative_to(found / "pictures").as_posix()[:-4]}"' not in done.decode():
            picture.unlink()
    with ray_cluster() as cluster:
        code, again, said = here(
            [*command, "--output", str(found), "--resume", "--engine", "ray", "--address", cluster.address]
        )
    assert code == 4 and "4 broken.png" in said and len(said.splitlines()) == 1
    assert 0 < json.loads(again)["duplicates"] < json.loads(out)["duplicates"]
    for key in ("images", "failures"):
        assert list(json.loads(again)[key].items()) == list(json.loads(out)[key].items())
    # Only what was not done is asked about.
    assert lines.read_bytes().startswith(done) and lines.read_bytes().count(b"\n") == 10
    assert files_of(found) == expected


@needs_ray
@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
def test_what_actors_had_when_they_were_killed_is_asked_again(
    speaking_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "many"
    photos.mkdir()
    for at in range(160):
        pixels = draw(at % 9)[0]
        pixels[-1, at % 96] = at
        Image.fromarray(pixels).save(photos / f"{at:03d}.png")
    command = ["predict", str(speaking_run), str(photos), "--confidence", "0.1", "--device", "cpu", "-q"]
    assert here([*command, "--output", str(tmp_path / "alone")])[0] == 0
    lines = tmp_path / "found" / "predictions.jsonl"
    killed: set[int] = set()
    add = PredictionJournal.add

    with ray_cluster() as cluster:

        def add_and_kill(self: PredictionJournal, found: FoundInstances) -> None:
            """Between two results, as more than a hundred images are still to be asked about."""
            add(self, found)
            if not killed and lines.read_bytes().count(b"\n") > 20:
                killed.update(cluster.actors())
                for actor in killed:
                    os.kill(actor, signal.SIGKILL)

        monkeypatch.setattr(PredictionJournal, "add", add_and_kill)
        ray = ["--engine", "ray", "--address", cluster.address, "--actors", "2"]
        code, _, err = here([*command, "--output", str(tmp_path / "found"), *ray])
    assert code == 0, err
    assert killed and are_gone(killed, 15)
    assert lines.read_bytes().count(b"\n") == 160
    assert files_of(tmp_path / "found") == files_of(tmp_path / "alone")


def test_an_actor_refuses_a_model_that_it_lacks_or_another_one_and_answers_with_what_can_be_sent(
    speaking_run: Path, photos: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.pth"
    shutil.copy(checkpoint_of(speaking_run), model)
    prediction = ImagePrediction(Classes(("ant", "bee")), PredictionRules(0.1), 1.0, pictures=False)
    work = PredictionWork(model, model_sha256(model), "cpu", prediction, 4)
    images = [(photos / name, name) for name in ("0.png", "4 broken.png", "large.png")]
    found, broken, _ = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(work)).start().answer(images)))
    assert isinstance(found, FoundInstances) and found.record.path == "0.png" and found.picture is None
    assert found.instances and Counter(found.counts).keys() == {"duplicate", "tiled image"}
    assert "4 broken.png" in broken.message
    with model.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match=r"model\.pth is not the one of the machine with the command"):
        work.start()
    model.unlink()
    with pytest.raises(MissingInputError, match="There is no model") as caught:
        work.start()
    assert "All nodes must see the model under the same path" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["belt.mp4"], "predicts image files, not a video, a stream or a URL: belt.mp4"),
        (["rtsp://camera/1"], "predicts image files, not a video, a stream or a URL"),
        (["https://example.org/a.jpg", "--allow-url"], "predicts image files, not a video, a stream or a URL"),
        (["photos", "--watch"], "predicts image files, not a folder with --watch: photos"),
        (["photos", "--device", "cuda:1"], "The device cuda:1 cannot be chosen with the engine ray"),
    ],
)
def test_what_nodes_cannot_read_is_refused(
    more: list[str], sentence: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos.parent)
    assert main(["predict", "run", *more, "--output", "found", "--engine", "ray"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert sentence in error and hint.startswith("Hint: Give ")
    assert not Path("found").exists()


def test_options_of_ray_without_ray_and_models_that_no_file_has_are_refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in ("--address=auto", "--actors=2", "--cpus-per-base=2"):
        assert main(["predict", "run", str(photos), flag]) == 2
        assert f"{flag.partition('=')[0][2:].replace('-', '_')} needs engine ray" in capsys.readouterr().err
    assert main(["predict", str(photos), "--endpoint", "https://example.org/a/1", "--engine", "ray"]) == 2
    assert "--engine ray does not ask an --endpoint" in capsys.readouterr().err
    with pytest.raises(UsageError, match="needs the path of a model, which each actor loads, not Reds"):
        predict_images(Reds(), photos, tmp_path / "found", engine="ray", progress=False)
    with pytest.raises(UsageError, match="engine"):
        watch_folder(Reds(), photos, tmp_path / "found", duration=0.1, engine="ray", progress=False)
    assert not (tmp_path / "found").exists()
