"""An image whose side is longer than COCO's masks can have is refused as one image, wherever it comes in."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco, predict_images
from autodistill_rfdetr_seg.coco import segmentation
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.core.masks import MAX_SIDE
from autodistill_rfdetr_seg.core.types import SPLITS, ImageRecord, Instance
from autodistill_rfdetr_seg.images.frame_files import extract_frames
from autodistill_rfdetr_seg.images.image_opening import open_image
from autodistill_rfdetr_seg.labels.label_store import LabelStore
from autodistill_rfdetr_seg.labels.stored_labels import Provenance, StoredLabels
from autodistill_rfdetr_seg.predict.video_prediction import predict_video
from helpers.commands import here
from helpers.lamps import arguments, scene
from helpers.red_model import Reds

WIDE = "wide.png"
TOLD = rf"is {MAX_SIDE + 1}x16 pixels, and masks in COCO files have sides of at most {MAX_SIDE}: cut it"


def strip(path: Path, width: int, height: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(path)
    return path


@pytest.fixture
def panorama(photos: Path) -> Path:
    strip(photos / WIDE, MAX_SIDE + 1, 16)
    return photos


def test_the_limit_is_that_of_coco_files() -> None:
    assert segmentation.MAX_SIDE == MAX_SIDE


@pytest.mark.parametrize("turned", [False, True])
def test_the_longest_side_is_opened_and_one_more_is_not(tmp_path: Path, turned: bool) -> None:
    def size(side: int) -> tuple[int, int]:
        return (8, side) if turned else (side, 8)

    assert max(open_image(strip(tmp_path / "a.png", *size(MAX_SIDE))).pixels.shape) == MAX_SIDE
    with pytest.raises(DataError, match=rf"b\.png is .*{MAX_SIDE + 1}.* at most {MAX_SIDE}"):
        open_image(strip(tmp_path / "b.png", *size(MAX_SIDE + 1)))


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_labelling_goes_on_and_all_that_follows_can_read_it(panorama: Path, tmp_path: Path, workers: str) -> None:
    run = tmp_path / "run"
    code, out, err = here(arguments(panorama, run, "--workers", workers, "--json"))
    assert code == 4, err
    (failure,) = json.loads(out)["failures"]
    assert failure["path"] == WIDE and f"sides of at most {MAX_SIDE}: cut it into parts" in failure["reason"]
    code, out, err = here(["build", str(run), "--min-area", "5", "-q"])
    assert code == 4 and f"failed  {WIDE}" in out, err
    for split in SPLITS:
        folder = run / "dataset" / split
        assert not coco.validate(folder) and all(image.image_id != WIDE for image in coco.read(folder).images)


def test_a_preview_and_a_plan_go_on_too(panorama: Path, tmp_path: Path) -> None:
    code, out, err = here(arguments(panorama, tmp_path / "a", "--preview", "30", "--json"))
    assert code == 4 and [one["path"] for one in json.loads(out)["failures"]] == [WIDE], err
    command = arguments(panorama, tmp_path / "b", "--count", "30", "--json")
    code, out, err = here(["plan", *command[1:]])
    assert code == 0 and json.loads(out)["unreadable"] == 1, err


def test_a_folder_is_predicted_without_it(tmp_path: Path) -> None:
    strip(tmp_path / "photos" / WIDE, MAX_SIDE + 1, 16)
    strip(tmp_path / "photos" / "ok.png", 60, 40)
    told = predict_images(Reds(), tmp_path / "photos", tmp_path / "out", progress=False)
    assert list(told.counts) == ["ok.png"]
    assert [f"sides of at most {MAX_SIDE}" in reason for reason in told.failures.values()] == [True]
    assert len(coco.read(tmp_path / "out" / "predictions.json").images) == 1


def test_a_video_is_refused_before_its_first_frame(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mov"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("png", rate=5)
        stream.width, stream.height, stream.pix_fmt = MAX_SIDE + 1, 16, "rgb24"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, MAX_SIDE + 1, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match=TOLD):
        extract_frames(clip, tmp_path / "frames", every=1, fps=None, scene_changes=False, progress=False)
    with pytest.raises(DataError, match=TOLD):
        predict_video(Reds(), clip, tmp_path / "out", progress=False)


def test_a_row_of_an_earlier_version_counts_as_not_labelled(tmp_path: Path) -> None:
    made = Provenance("base", {}, ("a lamp",))
    with LabelStore(tmp_path) as store:
        for number, width in enumerate((64, MAX_SIDE + 1)):
            rle = masks.encode(np.ones((8, width), bool))
            image = ImageRecord(f"{number:016x}", f"{number}.png", 8, width, f"{number:064x}")
            store.append(StoredLabels(image, (Instance(0, rle, 1.0),), ".png", 100, 1, 0.1), made)
    assert [(key.path, key.width) for key in store.rows(made.fingerprint)] == [("0.png", 64)]


def test_what_an_earlier_version_labelled_does_not_stop_a_build(photos: Path, tmp_path: Path) -> None:
    """Its row is passed over, the image is told, and `label --resume` says why it is not in the dataset."""
    run = tmp_path / "run"
    assert here(arguments(photos, run))[0] == 0
    path = strip(photos / WIDE, MAX_SIDE + 1, 16)
    account = json.loads((run / "labels" / "labels.json").read_text())
    made = Provenance(account["base"], account["args"], ("bright",), account["versions"])
    assert made.fingerprint == account["fingerprint"]
    stat = path.stat()
    image = ImageRecord("f" * 16, WIDE, 16, MAX_SIDE + 1, "f" * 64)
    with LabelStore(run / "labels") as store:
        store.append(StoredLabels(image, (), ".png", stat.st_size, stat.st_mtime_ns, 0.1), made)
    account["images"].append(WIDE)
    (run / "labels" / "labels.json").write_text(json.dumps(account))
    code, out, err = here(["build", str(run), "--min-area", "5", "-q"])
    assert code == 4 and "are not labeled" in out, err
    code, out, err = here(arguments(photos, run, "--resume"))
    assert code == 4 and f"failed  {WIDE}" in out, err
    scene(photos / WIDE, 3)
    assert here(arguments(photos, run, "--resume"))[0] == 0
