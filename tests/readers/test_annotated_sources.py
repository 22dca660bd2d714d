"""One reader for every annotated source: what is meant is read and counted, what cannot be told is refused by name."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError, MissingInputError, OutputExistsError
from autodistill_rfdetr_seg.readers import read_gold, read_source, repair
from autodistill_rfdetr_seg.system.machine import same_disk
from autodistill_rfdetr_seg.targets import RFDETRSegNano
from autodistill_rfdetr_seg.targets.export.export_parity import find_samples
from autodistill_rfdetr_seg.targets.training.training_data import find_dataset
from autodistill_rfdetr_seg.targets.training.training_folder import read_class_names
from helpers import foreign_dataset as foreign
from helpers.coco_files import ANNOTATIONS, edit, objects
from helpers.tiny_training import TINY


def dry_run(dataset: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["train", str(dataset), "--dry-run", "--json", "--device=cpu", "-q"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", foreign.READ)
def test_what_is_plainly_meant_is_read_and_counted(name: str, tmp_path: Path) -> None:
    change, kind = foreign.READ[name]
    root = foreign.write(tmp_path / "dataset", change)
    found = read_source(root)
    assert found.errors == 0
    for split in foreign.SCENE:
        assert objects(found.splits[split]) == foreign.known(split)
    told = Counter(problem.kind.name for problem in found.problems)
    assert bool(told) == bool(kind) and all(name.startswith(kind) for name in told)
    # Training is given exactly that, in files that our writer made.
    work = tmp_path / "work"
    data = find_dataset(root)
    data.prepare(work, progress=False)
    for split in foreign.SCENE:
        prepared = data.folder(work) / split
        assert objects(coco.read(prepared)) == foreign.known(split)
        assert coco.validate(prepared) == []
        assert all(path.stat().st_nlink == 2 for path in prepared.glob("*.png"))


@pytest.mark.parametrize("name", foreign.REFUSED)
def test_what_cannot_be_told_is_refused_by_everyone_in_the_same_words(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, kind, place = foreign.REFUSED[name]
    root = foreign.write(tmp_path / "dataset")
    file = root / "train" / ANNOTATIONS
    edit(file, change)
    assert main(["validate", str(root), "--json", "-q"]) == 1
    rows = [row for row in json.loads(capsys.readouterr().out) if row["severity"] == "error"]
    assert rows[0]["kind"] == kind
    first = next(problem for problem in read_source(root).problems if problem.severity == "error")
    assert first.place.endswith(place) and first.kind.hint

    code, printed = dry_run(root, capsys)
    (finding,) = [
        one for one in printed["findings"] if one["severity"] == "error" and one["message"].find(kind) in range(3, 8)
    ]
    assert code == 1 and first.message in finding["message"] and finding["hint"] == first.kind.hint
    with pytest.raises(DataError) as refused:
        read_gold(file, images="checked")
    assert first.message in str(refused.value) and first.kind.hint in str(refused.value)


def test_wrong_in_each_way_at_once_it_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change = foreign.all_of(
        foreign.without("area"), foreign.first(segmentation=None), foreign.each("bbox", [0, 0, 1, 1])
    )
    root = foreign.write(tmp_path / "dataset", change)
    assert main(["validate", str(root), "-q"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("error    2 x annotation has no mask: left out\n")
    assert "warning  4 x box is not the mask's: computed from the mask" in text and "… and 1 more" in text
    assert text.endswith("2 errors, 8 warnings\n")
    main(["validate", str(root), "--all", "-q"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("warning: ") for line in lines) == 8


# ---------------------------------------------------------------------------------------------- encodings


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_file_of_another_encoding_is_the_same_file(encoding: str, tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    for split in foreign.SCENE:
        file = root / split / ANNOTATIONS
        file.write_bytes(file.read_text().replace(", ", ",\r\n ").encode(encoding))
    assert read_source(root).problems == ()
    assert objects(find_dataset(root).splits["train"]) == foreign.known("train")


def test_a_compressed_file_is_told(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    file = root / "train" / ANNOTATIONS
    file.write_bytes(gzip.compress(file.read_bytes()))
    with pytest.raises(DataError, match="compressed by gzip"):
        coco.read(file)


# ---------------------------------------------------------------------------------------------- file names


def test_names_are_found_where_one_file_fits_and_refused_where_two_do(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    folder = root / "train"
    name = unicodedata.normalize("NFD", "bräune 50%.png")
    (folder / "im00.png").rename(folder / name)
    (folder / "sub").mkdir()
    (folder / "im01.png").rename(folder / "sub" / "im01.png")
    edit(folder / ANNOTATIONS, lambda data: data["images"][0].update(file_name="br%C3%A4une%2050%25.png"))
    edit(folder / ANNOTATIONS, lambda data: data["images"][1].update(file_name="SUB\\im01.PNG"))
    truth = read_source(root).splits["train"]
    assert [image.path.name for image in truth.images] == [name, "im01.png", "im02.png"]
    assert truth.images[1].path.parent == folder / "sub"

    (folder / "Im01.png").write_bytes((folder / "sub" / "im01.png").read_bytes())
    edit(folder / ANNOTATIONS, lambda data: data["images"][1].update(file_name="/photos/IM01.png"))
    with pytest.raises(DataError, match=r"'/photos/IM01.png' fits 2 files: Im01.png, sub/im01.png"):
        read_gold(folder)


def test_nothing_outside_of_the_folder_is_read(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    file = root / "train" / ANNOTATIONS
    outside = tmp_path / "im77.png"
    foreign.draw(()).save(outside)
    for name in ("../../im77.png", str(outside), "..\\..\\im77.png"):
        edit(file, lambda data, name=name: data["images"][0].update(file_name=name))
        with pytest.raises(DataError, match="image id 1: `file_name`"):
            coco.read(file)
    edit(file, lambda data: data["images"][0].update(file_name="link.png"))
    (root / "train" / "link.png").symlink_to(outside)
    with pytest.raises(DataError, match="is a link that leaves the folder"):
        coco.read(file)


# ---------------------------------------------------------------------------------------------- layouts


def layout(tmp_path: Path, json_at: str, images_at: str, **more: str) -> Path:
    """The train split of the scene, its JSON and its images (and more, likewise) at these places."""
    for split, (file, folder) in {"train": (json_at, images_at), **{k: v.split("|") for k, v in more.items()}}.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(json.dumps(foreign.document(split)))
        for at, things in enumerate(foreign.SCENE[split]):
            foreign.draw(things).save(tmp_path / folder / f"im{at:02}.png")
    return tmp_path


@pytest.mark.parametrize(
    ("json_at", "images_at"),
    [
        ("annotations/instances_default.json", "images/default"),
        ("annotations/instances_default.json", "images"),
        ("annotations/instances_default.json", "."),
        ("annotations/default.json", "images/default"),
        ("result.json", "images"),
        ("annotations.json", "."),
        ("gold.json", "images"),
        ("labels.json", "data"),
        ("annotations/instances.json", "img"),
        ("ANNOTATIONS.JSON", "."),
        ("my export/annotations/instances_default.json", "my export/images/default"),
        ("_annotations.coco.json", "."),
    ],
)
def test_one_set_is_found_in_the_layout_of_any_tool(json_at: str, images_at: str, tmp_path: Path) -> None:
    root = layout(tmp_path, json_at, images_at)
    for source in (root, root / json_at):
        found = read_source(source)
        assert found.problems == () and list(found.splits) == [""]
        assert objects(found.splits[""]) == foreign.known("train")
        assert objects(read_gold(source)) == foreign.known("train")


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        ("annotations/instances_train2017.json|train2017", "annotations/instances_val2017.json|val2017"),
        ("annotations/instances_Train.json|images/Train", "annotations/instances_Validation.json|images/Validation"),
        ("train/annotations.json|train", "val/annotations.json|val"),
        ("train/result.json|train/images", "valid/result.json|valid/images"),
        ("train/annotations/instances_default.json|train/images/default", "val/annotations/a.json|val/images"),
        ("train.json|images", "val.json|images/val"),
        ("train_annotations.json|train", "val_annotations.json|val"),
        ("annotations/train/instances.json|images/train", "annotations/val/instances.json|images/val"),
        ("labels/train.json|images/train", "labels/val.json|images/val"),
        ("train/labels.json|train/data", "val/labels.json|val/data"),
        ("a/b/train/_annotations.coco.json|a/b/train", "a/b/valid/_annotations.coco.json|a/b/valid"),
    ],
)
def test_splits_are_found_in_the_layout_of_any_tool(train: str, valid: str, tmp_path: Path) -> None:
    root = layout(tmp_path, *train.split("|"), valid=valid)
    found = read_source(root)
    assert found.problems == () and list(found.splits) == ["train", "valid"]
    for split in foreign.SCENE:
        assert objects(found.splits[split]) == foreign.known(split)
    # The captions and key points of COCO's own folder are no instances.
    (root / "annotations").mkdir(exist_ok=True)
    if "instances" in train and train.startswith("annotations"):
        (root / "annotations" / "person_keypoints_train2017.json").write_text('{"images": []}')
        assert list(read_source(root).splits) == ["train", "valid"]


def test_what_is_not_found_is_told_with_what_is_there(tmp_path: Path) -> None:
    root = layout(tmp_path, "train/annotations.json", "train")
    with pytest.raises(DataError, match=r"has no valid split, only train: it contains train/"):
        find_dataset(root)
    layout(tmp_path, "train/annotations.json", "train", valid="val/a.json|val")
    assert set(find_dataset(root).splits) == {"train", "valid"}
    layout(tmp_path, "train/annotations.json", "train", valid="valid/a.json|valid")
    with pytest.raises(DataError, match="contains val and valid, and both mean the valid split"):
        find_dataset(root)
    (root / "val" / "a.json").unlink()
    (root / "valid" / "b.json").write_text((root / "valid" / "a.json").read_text())
    with pytest.raises(DataError, match=r"several COCO files: a.json, b.json"):
        find_dataset(root)
    with pytest.raises(MissingInputError, match="There are no annotated images in"):
        (root / "train" / "nothing").mkdir()
        read_source(root / "train" / "nothing")


def test_an_error_in_the_test_split_is_told_by_training_too(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    shutil.copytree(root / "valid", root / "test")
    assert list(find_dataset(root).splits) == ["train", "valid", "test"]
    edit(root / "test" / ANNOTATIONS, foreign.first(segmentation="not an rle"))
    with pytest.raises(DataError, match=r"test/_annotations\.coco\.json, image id 1, annotation id 1"):
        find_dataset(root)


def test_classes_of_splits_are_matched_by_name(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")

    def only_green(data: foreign.Doc) -> None:
        data["categories"] = [{"id": 7, "name": "green"}]
        data["annotations"] = [row | {"category_id": 7} for row in data["annotations"] if row["category_id"] == 2]

    edit(root / "valid" / ANNOTATIONS, only_green)
    data = find_dataset(root)
    data.prepare(tmp_path / "work", progress=False)
    for split in foreign.SCENE:
        written = json.loads((data.folder(tmp_path / "work") / split / ANNOTATIONS).read_text())
        assert [row["name"] for row in written["categories"]] == ["red", "green"]
    assert {row["category_id"] for row in written["annotations"]} == {2}


def test_a_placeholder_category_is_no_class(tmp_path: Path) -> None:
    def placeholder(data: foreign.Doc) -> None:
        data["categories"] = [
            {"id": 0, "name": "red", "supercategory": "none"},
            *({**row, "supercategory": "red"} for row in data["categories"]),
        ]

    found = read_source(foreign.write(tmp_path / "dataset", placeholder))
    assert found.splits["train"].classes.names == ("red", "green")
    assert {problem.kind.name for problem in found.problems} == {"category only names a supercategory"}


# ---------------------------------------------------------------------------------------------- orientation


@pytest.mark.parametrize(("stated", "upright"), [((120, 160), True), ((160, 120), False)])
def test_a_turned_photo_is_prepared_as_it_was_annotated(stated: tuple[int, int], upright: bool, tmp_path: Path) -> None:
    """The file's pixels lie on their side; its annotations are for the picture upright, or as it is stored."""
    root = foreign.write(tmp_path / "dataset")
    for split in foreign.SCENE:
        for at, things in enumerate(foreign.SCENE[split]):
            image = foreign.draw(things)
            stored = image.transpose(Image.Transpose.ROTATE_90) if upright else image
            exif = Image.Exif()
            exif[0x0112] = 6
            stored.save(root / split / f"im{at:02}.png", exif=exif)
        edit(
            root / split / ANNOTATIONS,
            lambda data: foreign.all_of(
                foreign.each("height", stated[0] if upright else 120, "images"),
                foreign.each("width", stated[1] if upright else 160, "images"),
            )(data),
        )
    data = find_dataset(root)
    assert {problem.kind.name for problem in data.source.problems} == {"image is turned by EXIF"}
    data.prepare(tmp_path / "work", progress=False)
    folder = data.folder(tmp_path / "work") / "train"
    for image in coco.read(folder).images:
        with Image.open(image.path) as opened:
            assert opened.size == (160, 120) and opened.getexif().get(0x0112, 1) == 1
            pixels = np.asarray(opened.convert("RGB"))
        for one in image.instances:
            inside = pixels[masks.decode(one.rle)]
            assert (inside == foreign.COLORS[one.class_index]).all()


# ---------------------------------------------------------------------------------------------- repair


def test_repair_keeps_every_mask_and_names_every_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = foreign.write(tmp_path / "dataset", foreign.all_of(foreign.without("area"), foreign.without("bbox")))

    def spoil(data: foreign.Doc) -> None:
        data["images"].append(dict(data["images"][0], id=99))  # listed twice, with a further annotation there
        data["annotations"] += [
            dict(data["annotations"][0], id=50, image_id=99),
            dict(data["annotations"][0], id=51, image_id=99, segmentation=[[90, 90, 110, 90, 110, 110, 90, 110]]),
            dict(data["annotations"][0], id=52, category_id=9, segmentation=[[120, 90, 150, 90, 150, 99, 120, 99]]),
            dict(data["annotations"][0], id=53, segmentation=None, bbox=[1, 2, 3, 4]),
            dict(data["annotations"][0], id=54, image_id=1, iscrowd=1, segmentation=[[1, 100, 9, 100, 9, 119, 1, 119]]),
        ]
        data["images"].append({"id": 7, "file_name": "gone.png", "width": 9, "height": 9})

    edit(root / "train" / ANNOTATIONS, spoil)
    clean = tmp_path / "clean"
    assert main(["repair", str(root), "--output", str(clean), "-q"]) == 4
    text = capsys.readouterr().out
    assert "1 x annotation has no mask: left out" in text and "1 x image is listed twice: joined" in text

    train = coco.read(clean / "train")
    expected = foreign.known("train")
    expected["im00"] = sorted(
        [
            *expected["im00"],
            ("red", (90, 90, 20, 20)),
            ("category 9", (120, 90, 30, 9)),
            ("red", (1, 100, 8, 19)),
        ]
    )
    assert objects(train) == expected
    assert [one.crowd for one in train.images[0].instances].count(True) == 1
    assert objects(coco.read(clean / "valid")) == foreign.known("valid")
    assert all(path.stat().st_nlink == 2 for path in clean.glob("*/*.png"))
    assert main(["validate", str(clean), "-q"]) == 0 and "\n0 errors, " in capsys.readouterr().out

    changes = json.loads((clean / "changes.json").read_text())
    rows = [row for row in changes["changes"] if row["kind"] == "annotation has no mask"]
    assert [(row["annotation_id"], row["done"]) for row in rows] == [(53, "left out")]
    kinds = {row["kind"]: row["count"] for row in changes["kinds"]}
    assert (
        kinds["area is missing"] == 6 + 4 and kinds["unknown category id"] == 1 and kinds["image file is missing"] == 1
    )
    assert changes["left_out"] == 2 and changes["counts"]["train"] == {"images": 3, "instances": 7, "negatives": 1}

    with pytest.raises(OutputExistsError):
        repair(root, clean, progress=False)
    assert repair(root, clean, overwrite=True, progress=False).left_out == 2
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="has not written"):
        repair(root, mine, overwrite=True, progress=False)
    with pytest.raises(OutputExistsError):
        repair(root, root / "clean", progress=False)


def test_a_size_that_is_off_by_one_is_put_right_only_where_images_are_trusted(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")

    def shrink(data: foreign.Doc) -> None:
        foreign.each("width", 159, "images")(data)
        rle = masks.to_coco(masks.encode(np.pad(np.ones((40, 30), bool), ((10, 70), (20, 109)))))
        data["annotations"][0]["segmentation"] = {"size": [120, 159], "counts": rle["counts"].decode()}

    edit(root / "train" / ANNOTATIONS, shrink)
    left = repair(root, tmp_path / "strict", progress=False)
    assert left.counts["train"]["images"] == 0 and left.left_out == 3
    done = repair(root, tmp_path / "trusting", trust_images=True, progress=False)
    assert done.left_out == 0 and {p.kind.name for p in done.problems if p.severity == "warning"} >= {
        "mask has another size than the image"
    }
    truth = coco.read(tmp_path / "trusting" / "train")
    others = [one for one in foreign.known("train")["im00"] if one != ("red", (16, 68, 24, 24))]
    assert objects(truth)["im00"] == sorted([*others, ("red", (20, 10, 30, 40))])
    # A size that is far off is no slip, trusted or not.
    edit(root / "train" / ANNOTATIONS, foreign.each("width", 300, "images"))
    assert repair(root, tmp_path / "far", trust_images=True, progress=False).counts["train"]["images"] == 0


def test_brush_masks_that_are_all_crowds_become_objects_on_request(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset", foreign.each("iscrowd", 1))
    kept = repair(root, tmp_path / "kept", progress=False)
    assert all(one.crowd for image in coco.read(kept.root / "train").images for one in image.instances)
    made = repair(root, tmp_path / "made", crowds="objects", progress=False)
    assert not any(one.crowd for image in coco.read(made.root / "train").images for one in image.instances)
    assert objects(coco.read(made.root / "train")) == foreign.known("train")
    assert find_dataset(made.root).splits.keys() == {"train", "valid"}


def test_an_image_that_cannot_be_decoded_is_left_out_by_repair_and_stops_training(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    file = root / "train" / "im01.png"
    file.write_bytes(file.read_bytes()[:-40])
    done = repair(root, tmp_path / "clean", progress=False)
    assert done.left_out == 1 and done.counts["train"]["images"] == 2
    with pytest.raises(DataError, match=r"im01\.png"):
        find_dataset(root).prepare(tmp_path / "work", progress=False)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")  # noqa: PTH112
def test_images_on_another_disk_are_copied_and_counted(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset")
    data = find_dataset(root)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if not same_disk(root, Path(other)):
            size = sum(path.stat().st_size for path in root.glob("*/*.png"))
            assert data.copied_bytes(Path(other)) == size and data.copied_bytes(tmp_path) == 0
            data.prepare(Path(other), progress=False)
            assert objects(coco.read(data.folder(Path(other)) / "train")) == foreign.known("train")


def test_repair_of_one_set_and_of_a_run(tmp_path: Path) -> None:
    root = layout(tmp_path / "cvat", "annotations/instances_default.json", "images/default")
    done = repair(root, tmp_path / "clean", progress=False)
    assert done.counts == {"": {"images": 3, "instances": 4, "negatives": 1}}
    assert objects(read_gold(tmp_path / "clean")) == foreign.known("train")
    run = tmp_path / "run"
    foreign.write(run / "dataset")
    (run / "pipeline.yaml").write_text("images: photos\n")
    assert set(repair(run, tmp_path / "of-run", progress=False).counts) == {"train", "valid"}


@pytest.mark.skipif(not hasattr(os, "link"), reason="needs hard links")
def test_a_gold_set_in_splits_is_its_test_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = foreign.write(tmp_path / "dataset")
    with caplog.at_level("INFO", logger="autodistill_rfdetr_seg"):
        assert objects(read_gold(root)) == foreign.known("valid")
    assert "the valid split is used" in caplog.text


# ---------------------------------------------------------------------------------------------- training


@pytest.mark.train
def test_rf_detr_trains_on_what_was_understood_and_on_nothing_else(tmp_path: Path) -> None:
    """What broke RF-DETR's own reader, or made it read other masks: all at once."""
    changes = foreign.all_of(
        *(
            foreign.READ[name][0]
            for name in ("no-area", "annotation-same-id", "iscrowd-text", "bbox-corners", "image-ids-float", "seg-flat")
        )
    )
    root = foreign.write(tmp_path / "dataset", changes)
    (root / "train" / "im00.png").rename(root / "train" / "IM00.png")
    seen: dict[str, Any] = {}

    def look(work: Path) -> None:
        from rfdetr.datasets.coco import CocoDetection

        for split in foreign.SCENE:
            folder = work / ".dataset" / split
            seen[split] = objects(coco.read(folder))
            reader = CocoDetection(folder, folder / ANNOTATIONS, None, include_masks=True, remap_category_ids=True)
            targets = [target for _, target in (reader[at] for at in range(len(reader)))]
            seen[f"rfdetr {split}"] = [
                sorted(zip(one["labels"].tolist(), one["masks"].flatten(1).sum(1).tolist(), strict=True))
                for one in targets
            ]

    target = RFDETRSegNano(device="cpu", **TINY)
    job = target.training_job(root, output=tmp_path / "out", epochs=1, batch_size=2, grad_accum_steps=1, progress=False)
    run = target.train_job(job, on_start=look, progress=False)
    assert read_class_names(run.checkpoint) == foreign.CLASSES
    assert {stem.lower(): rows for stem, rows in seen["train"].items()} == foreign.known("train")
    assert seen["valid"] == foreign.known("valid")
    # RF-DETR's own reader, on the folder that it was given: class index and pixels of the mask.
    for split, images in foreign.SCENE.items():
        assert seen[f"rfdetr {split}"] == [sorted((index, w * h) for index, _, _, w, h in things) for things in images]
    # Nothing of it stays behind.
    assert not (tmp_path / "out" / "unfinished").exists() and not (tmp_path / "out" / ".dataset").exists()


def test_samples_of_an_export_are_read_by_the_same_reader(tmp_path: Path) -> None:
    root = foreign.write(tmp_path / "dataset", foreign.READ["backslash"][0])
    found = find_samples(root / "train" / ANNOTATIONS, None, 2)
    assert found.origin == "given" and [name for name, _ in found.images] == ["im00.png", "im02.png"]
    edit(root / "train" / ANNOTATIONS, foreign.first(segmentation="not an rle"))
    with pytest.raises(DataError, match=r"annotation id 1: `segmentation` must be"):
        find_samples(root / "train" / ANNOTATIONS, None, 2)


def test_labelling_the_images_of_a_file_says_the_same_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = layout(tmp_path / "cvat", "annotations/instances_default.json", "images/default")
    file = root / "annotations" / "instances_default.json"
    base = ["--base", "threshold", "--class", "red", "--split", "1,0,0", "-q"]
    assert main(["label", str(file), "--output", str(tmp_path / "run"), *base]) == 0
    images = coco.read(tmp_path / "run" / "dataset" / "train").images
    assert [image.image_id for image in images] == [f"images__default__im{at:02}.png" for at in range(3)]
    edit(file, foreign.first(segmentation="not an rle"))
    capsys.readouterr()
    assert main(["label", str(file), "--output", str(tmp_path / "other"), *base]) == 1
    assert "annotation id 1: `segmentation` must be a list" in capsys.readouterr().err


def test_a_file_that_came_without_its_images_is_not_given_others(tmp_path: Path) -> None:
    """Beside it lies a folder of other pictures with the same names, as of another round of labelling."""
    file = layout(tmp_path, "edited.json", "images") / "edited.json"
    (found,) = read_source(file, images="ignored").splits.values()
    assert [image.path for image in found.images] == [tmp_path / f"im{at:02}.png" for at in range(3)]
    (found,) = read_source(file, images="located").splits.values()
    assert found.images[0].path == tmp_path / "images" / "im00.png"
