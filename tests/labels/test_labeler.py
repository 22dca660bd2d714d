from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.coco import validate
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import DatasetConfig, RefineConfig, SplitConfig
from autodistill_rfdetr_seg.core.errors import DataError, OutputExistsError, UsageError
from autodistill_rfdetr_seg.dataset.builder import BuildOptions, build
from autodistill_rfdetr_seg.dataset.dataset_index import read_dataset, split_of_content
from autodistill_rfdetr_seg.images.image_discovery import discover, relative_paths
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.labels.label_account import read_account, read_failures
from autodistill_rfdetr_seg.labels.labeler import LabelSummary, label_images
from autodistill_rfdetr_seg.pipeline.runs import label
from helpers.shapes import detections


class RedBase(DetectionBaseModel):
    """Every red pixel is one instance; counts how often it was asked, and fails where a green corner says so."""

    def __init__(self, ontology: Any = None) -> None:
        self.ontology = ontology or CaptionOntology({"red": "square"})
        self._asked: list[tuple[int, ...]] = []

    def predict(self, input: np.ndarray) -> sv.Detections:
        self._asked.append(input.shape)
        if input[0, 0].tolist() == [0, 255, 0]:
            raise ValueError("green corner")
        mask = input[:, :, 2] > 200
        if not mask.any():
            return sv.Detections.empty()
        return detections(mask[None], [0], [0.8])

    @property
    def asked(self) -> int:
        return len(self._asked)


def scene(path: Path, at: int | None, size: int = 32, green: bool = False, **options: Any) -> Path:
    pixels = np.full((size, size + 8, 3), 30, np.uint8)
    if at is not None:
        pixels[at : at + 8, at : at + 5] = (255, 0, 0)
    if green:
        pixels[0, 0] = (0, 255, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    for i in range(10):
        scene(images / f"{'ab'[i % 2]}" / f"{i // 2}.png", at=i + 2)
    scene(images / "nothing.png", None)
    return images


def labelled(base: RedBase, folder: Path, output: Path) -> LabelSummary:
    source = BaseSource.from_model(base)
    return label_images(source, relative_paths(discover(folder), folder), output, progress=False)


def annotation_bytes(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*.coco.json"))}


def test_label_then_nothing_to_do_then_only_what_is_new(folder: Path, tmp_path: Path) -> None:
    base = RedBase()
    assert labelled(base, folder, tmp_path / "labels") == LabelSummary(11, 0, (), {})
    assert base.asked == 11
    assert labelled(base, folder, tmp_path / "labels") == LabelSummary(0, 11, (), {})
    scene(folder / "new.png", 20)
    os.utime(folder / "nothing.png", (1, 1))  # touched, not changed
    assert labelled(base, folder, tmp_path / "labels") == LabelSummary(1, 11, (), {})
    assert base.asked == 12
    scene(folder / "new.png", 21)
    assert labelled(base, folder, tmp_path / "labels").labeled == 1


def test_resume_asks_only_for_what_is_not_stored(folder: Path, tmp_path: Path) -> None:
    class Named(RedBase):
        def __init__(self) -> None:
            super().__init__()
            self._left: int | None = 5

        def predict(self, input: np.ndarray) -> sv.Detections:
            if self._left == 0:
                raise KeyboardInterrupt
            self._left = None if self._left is None else self._left - 1
            return super().predict(input)

    whole = Named()
    whole._left = None
    label(whole, folder, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        label(Named(), folder, tmp_path / "run", progress=False)
    second = Named()
    second._left = None
    label(second, folder, tmp_path / "run", resume=True, progress=False)
    assert second.asked == 6
    assert annotation_bytes(tmp_path / "run") == annotation_bytes(tmp_path / "whole")


def test_one_bad_image_does_not_stop_the_rest(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    scene(folder / "refused.png", 4, green=True)
    summary = labelled(RedBase(), folder, tmp_path / "labels")
    assert summary.labeled == 11
    assert [failure["path"] for failure in summary.failures] == ["broken.jpg", "refused.png"]
    assert "green corner" in summary.failures[1]["reason"]
    assert read_failures(tmp_path / "labels") == list(summary.failures)


def test_two_prompts_of_one_class_and_renaming_without_the_base(folder: Path, tmp_path: Path) -> None:
    base = RedBase(CaptionOntology({"red": "square", "crimson": "square"}))
    dataset = label(base, folder, tmp_path / "run", progress=False)
    assert dataset.classes.names == ("square",)
    renamed = RedBase(CaptionOntology({"red": "box", "crimson": "square"}))
    dataset = label(renamed, folder, tmp_path / "run", resume=True, progress=False)
    assert (renamed.asked, dataset.classes.names) == (0, ("box", "square"))
    assert coco.read(dataset.root / "train").images[0].instances[0].class_index == 0


def test_dataset_masks_names_and_negatives(folder: Path, tmp_path: Path) -> None:
    dataset = label(RedBase(), folder, tmp_path / "run", progress=False)
    assert {s: c["images"] for s, c in dataset.counts.items()} == {"train": 9, "valid": 1, "test": 1}
    assert sum(c["negatives"] for c in dataset.counts.values()) == 1
    seen = set()
    for split in dataset.counts:
        truth = coco.read(dataset.root / split)
        assert not [p for p in validate(dataset.root / split) if p.severity == "error"]
        for image in truth.images:
            seen.add(image.image_id)
            pixels = np.asarray(Image.open(image.path))
            for instance in image.instances:
                assert np.array_equal(masks.decode(instance.rle), pixels[:, :, 0] > 200)
    assert seen == {f"{d}__{i}.png" for d in "ab" for i in range(5)} | {"nothing.png"}
    linked = dataset.root / "train" / next(iter(n for n in seen if (dataset.root / "train" / n).is_file()))
    assert linked.stat().st_nlink == 2


def test_rotated_photo_is_baked_and_its_mask_lies_on_the_object(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(3):
        scene(tmp_path / "images" / f"{i}.jpg", 4 + i, size=48, exif=exif, quality=95)
    dataset = label(RedBase(), tmp_path / "images", tmp_path / "run", progress=False)
    for image in coco.read(dataset.root / "train").images:
        pixels = np.asarray(Image.open(image.path))
        assert image.path.suffix == ".png"
        assert pixels.shape[:2] == (image.height, image.width) == (56, 48)
        assert (tmp_path / "images").is_dir()
        assert np.array_equal(masks.decode(image.instances[0].rle), pixels[:, :, 0] > 200)


def test_build_again_decides_anew_without_the_base(folder: Path, tmp_path: Path) -> None:
    base = RedBase()
    labelled(base, folder, tmp_path / "labels")
    options = BuildOptions()
    built = build(tmp_path / "labels", folder, tmp_path / "dataset", options, progress=False)
    first, worked = built.dataset, built.worked
    assert worked
    before = annotation_bytes(tmp_path / "dataset")
    again = build(tmp_path / "labels", folder, tmp_path / "dataset", options, progress=False)
    assert (again.dataset, again.worked) == (first, False)
    strict = BuildOptions(RefineConfig(confidence=0.9))
    built = build(tmp_path / "labels", folder, tmp_path / "dataset", strict, progress=False)
    second, worked = built.dataset, built.worked
    assert worked
    assert sum(c["instances"] for c in second.counts.values()) == 0
    assert json.loads((second.root / "dataset.json").read_text())["rejected"] == {"confidence": 10}
    assert first.fingerprint != second.fingerprint
    build(tmp_path / "labels", folder, tmp_path / "dataset", options, progress=False)
    assert annotation_bytes(tmp_path / "dataset") == before
    assert base.asked == 11


def test_splits_are_stable_and_copies_stay_together(folder: Path, tmp_path: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "a" / "0.png").read_bytes())
    dataset = label(RedBase(), folder, tmp_path / "run", progress=False)
    before = split_of_content(dataset.root)
    for i in range(40):
        scene(folder / "more" / f"{i}.png", i % 20, size=60 + i)
    dataset = label(RedBase(), folder, tmp_path / "run", resume=True, progress=False)
    after = split_of_content(dataset.root)
    assert all(after[sha] == split for sha, split in before.items())
    index = json.loads((dataset.root / "dataset.json").read_text())["images"]
    assert index["copy.png"]["split"] == index["a/0.png"]["split"]


def test_refusals_leave_nothing_behind(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError):
        label(RedBase(), folder, tmp_path / "full", progress=False)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    with pytest.raises(UsageError, match="images' folder"):
        label(RedBase(), folder, folder / "run", progress=False)
    with pytest.raises(UsageError, match="ontology"):
        label("threshold", folder, tmp_path / "x", progress=False)


def test_overwrite_begins_anew_and_keeps_what_is_not_ours(folder: Path, tmp_path: Path) -> None:
    label(RedBase(), folder, tmp_path / "run", progress=False)
    (tmp_path / "run" / "notes.txt").write_text("keep")
    base = RedBase()
    label(base, folder, tmp_path / "run", overwrite=True, progress=False)
    assert base.asked == 11
    assert (tmp_path / "run" / "notes.txt").read_text() == "keep"


def test_an_image_that_changed_is_told(folder: Path, tmp_path: Path) -> None:
    labelled(RedBase(), folder, tmp_path / "labels")
    scene(folder / "a" / "0.png", 20)
    with pytest.raises(DataError, match=r"a/0\.png has changed"):
        build(tmp_path / "labels", folder, tmp_path / "dataset", BuildOptions(), progress=False)
    assert [p.name for p in tmp_path.iterdir() if "dataset" in p.name] == []


def test_empty_split_is_refused(tmp_path: Path) -> None:
    for i in range(2):
        scene(tmp_path / "images" / f"{i}.png", i)
    labelled(RedBase(), tmp_path / "images", tmp_path / "labels")
    with pytest.raises(DataError, match="would be empty") as error:
        build(tmp_path / "labels", tmp_path / "images", tmp_path / "dataset", BuildOptions(), progress=False)
    assert "--split" in str(error.value.hint)
    shares = BuildOptions(split=SplitConfig(train=0.5, valid=0.5, test=0), dataset=DatasetConfig())
    assert build(tmp_path / "labels", tmp_path / "images", tmp_path / "dataset", shares, progress=False).worked


def test_account_and_dataset_ask_for_the_stage_before(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished labels"):
        read_account(tmp_path)
    with pytest.raises(DataError, match="no dataset"):
        read_dataset(tmp_path)


def test_long_and_equal_names(tmp_path: Path) -> None:
    images = tmp_path / "images"
    long = "x" * 240
    for i, name in enumerate((f"{long}.png", "same.png", "same.jpg", "SAME.bmp", "d/e.png", "d__e.png")):
        scene(images / name, i)
    dataset = label(RedBase(), images, tmp_path / "run", progress=False)
    names = [v["file_name"] for v in json.loads((dataset.root / "dataset.json").read_text())["images"].values()]
    assert len({name.casefold() for name in names}) == 6
    assert max(map(len, names)) < 200


def texture(path: Path, seed: int, brighter: int = 0) -> None:
    """A photo of its own, as coarse noise is; `brighter` makes another file of the same view."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 200, (6, 8, 3)).astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(coarse.resize((96, 72), Image.Resampling.BICUBIC)).astype(int) + brighter
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def index_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "dataset" / "dataset.json").read_text())
    return found


def test_look_alikes_stay_in_one_split_unless_switched_off(tmp_path: Path) -> None:
    for i in range(20):
        texture(tmp_path / "images" / f"{i:02d}a.png", i)
        texture(tmp_path / "images" / f"{i:02d}b.png", i, brighter=8)
    label(RedBase(), tmp_path / "images", tmp_path / "run", progress=False)
    index = index_of(tmp_path / "run")
    split = {path: entry["split"] for path, entry in index["images"].items()}
    assert all(split[f"{i:02d}a.png"] == split[f"{i:02d}b.png"] for i in range(20))
    assert (index["kept_together"]["groups"], index["kept_together"]["images"]) == (20, 40)
    assert index["kept_together"]["pairs"][0] == ["00a.png", "00b.png"]
    apart = {"split": {"near_duplicates": None}}
    label(RedBase(), tmp_path / "images", tmp_path / "apart", progress=False, **apart)
    split = {path: entry["split"] for path, entry in index_of(tmp_path / "apart")["images"].items()}
    assert any(split[f"{i:02d}a.png"] != split[f"{i:02d}b.png"] for i in range(20))


def seams(index: dict[str, Any], order: list[str]) -> int:
    """How often two neighbours are in different splits."""
    splits = [index["images"][name]["split"] for name in order]
    return sum(one != other for one, other in itertools.pairwise(splits))


def test_a_fixed_camera_is_cut_into_chunks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(30):
        texture(tmp_path / "images" / f"{i}.png", 7, brighter=i % 9 + (i // 9) * 10)
    with caplog.at_level("WARNING"):
        dataset = label(RedBase(), tmp_path / "images", tmp_path / "run", progress=False)
    # 7 chunks of 4 images and one of 2
    for name, share in {"train": 24, "valid": 3, "test": 3}.items():
        assert abs(dataset.counts[name]["images"] - share) <= 4
    index = index_of(tmp_path / "run")
    assert index["kept_together"]["cut"] == {"images": 30, "stretches": 8}
    assert seams(index, [f"{i}.png" for i in range(30)]) <= 4
    assert index["kept_together"]["across"] > 0
    assert "Leakage: " in caplog.text and "8 chunks of consecutive images" in caplog.text


def test_one_video_is_cut_into_chunks_and_more_frames_move_none(tmp_path: Path) -> None:
    def built(count: int) -> dict[str, Any]:
        names = [f"v/frame_{i:06d}.png" for i in range(0, 30 * count, 30)]
        for i, name in enumerate(names):
            texture(tmp_path / "frames" / name, i)
        items = [(tmp_path / "frames" / name, name) for name in names]
        groups = dict.fromkeys(names, "v")
        source = BaseSource.from_model(RedBase())
        label_images(source, items, tmp_path / "labels", root=tmp_path / "frames", groups=groups, progress=False)
        build(tmp_path / "labels", tmp_path / "frames", tmp_path / "dataset", BuildOptions(), progress=False)
        found: dict[str, Any] = json.loads((tmp_path / "dataset" / "dataset.json").read_text())
        splits = [found["images"][name]["split"] for name in names]
        assert all(at % 4 == 0 for at in range(1, count) if splits[at - 1] != splits[at])
        return found

    few, more = built(40), built(56)
    assert few["kept_together"]["cut"] == {"images": 40, "stretches": 10}
    assert {name: count["images"] for name, count in few["counts"].items()} == {"train": 32, "valid": 4, "test": 4}
    assert all(more["images"][name]["split"] == entry["split"] for name, entry in few["images"].items())
    assert abs(more["counts"]["train"]["images"] - 0.8 * 56) <= 4


def test_copies_stay_together_in_a_still_video_and_beside_it(tmp_path: Path) -> None:
    names = [f"v/frame_{frame:03d}.png" for frame in range(48)] + ["w/photo.png"]
    for i, name in enumerate(names):
        texture(tmp_path / "frames" / name, i // 3 if i < 48 else 5)
    items = [(tmp_path / "frames" / name, name) for name in names]
    source = BaseSource.from_model(RedBase())
    groups = dict.fromkeys(names[:48], "v")
    label_images(source, items, tmp_path / "labels", root=tmp_path / "frames", groups=groups, progress=False)
    build(tmp_path / "labels", tmp_path / "frames", tmp_path / "dataset", BuildOptions(), progress=False)
    index = json.loads((tmp_path / "dataset" / "dataset.json").read_text())
    splits: dict[str, set[str]] = {}
    for entry in index["images"].values():
        splits.setdefault(entry["sha256"], set()).add(entry["split"])
    assert len(splits) == 16 and all(len(found) == 1 for found in splits.values())
    assert index["kept_together"]["cut"]["images"] == 49


def test_two_videos_are_cut_where_there_are_three_splits(tmp_path: Path) -> None:
    names = [f"{video}/{frame}.png" for video in "ab" for frame in range(20)]
    for i, name in enumerate(names):
        texture(tmp_path / "frames" / name, i)
    items = [(tmp_path / "frames" / name, name) for name in names]
    groups = {name: name[0] for name in names}
    source = BaseSource.from_model(RedBase())
    label_images(source, items, tmp_path / "labels", root=tmp_path / "frames", groups=groups, progress=False)
    two = BuildOptions(split=SplitConfig(train=0.5, valid=0.5, test=0))
    for options, cut in ((two, 0), (BuildOptions(), 40)):
        build(tmp_path / "labels", tmp_path / "frames", tmp_path / "dataset", options, progress=False)
        index = json.loads((tmp_path / "dataset" / "dataset.json").read_text())
        assert index["kept_together"]["cut"]["images"] == cut
    assert all(index["counts"][name]["images"] >= 4 for name in ("train", "valid", "test"))


def test_frames_of_one_video_stay_together(tmp_path: Path) -> None:
    items, groups = [], {}
    for video in range(6):
        for frame in range(4):
            texture(tmp_path / "frames" / f"v{video}" / f"{frame}.png", 100 * video + frame)
    for path, name in relative_paths(discover(tmp_path / "frames"), tmp_path / "frames"):
        items.append((path, name))
        groups[name] = f"video {name.split('/')[0]}"
    source = BaseSource.from_model(RedBase())
    label_images(source, items, tmp_path / "labels", root=tmp_path / "frames", groups=groups, progress=False)
    shares = BuildOptions(split=SplitConfig(train=0.5, valid=0.25, test=0.25))
    build(tmp_path / "labels", tmp_path / "frames", tmp_path / "dataset", shares, progress=False)
    index = json.loads((tmp_path / "dataset" / "dataset.json").read_text())["images"]
    for video in range(6):
        assert len({entry["split"] for path, entry in index.items() if path.startswith(f"v{video}/")}) == 1


def test_a_class_too_rare_for_every_split_is_told(folder: Path, tmp_path: Path) -> None:
    base = RedBase(CaptionOntology({"red": "square", "never": "ghost"}))
    label(base, folder, tmp_path / "run", progress=False)
    rare = index_of(tmp_path / "run")["too_rare"]
    assert rare["ghost"] == ["train", "valid", "test"]
    assert rare.get("square", []) in ([], ["valid"], ["test"])


def test_deciding_again_loads_neither_base_nor_torch(folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "own_base.py"
    base.write_text(
        "from autodistill.detection import DetectionBaseModel\n"
        "import supervision as sv\n"
        "class Nothing(DetectionBaseModel):\n"
        "    def __init__(self, ontology): self.ontology = ontology\n"
        "    def predict(self, input): return sv.Detections.empty()\n"
    )
    run = tmp_path / "run"
    command = ["label", str(folder), "--base", f"{base}:Nothing", "--class", "a=b", "--output", str(run), "-q"]
    assert main(command) == 0
    base.write_text("raise SystemExit('the base was loaded')\n")
    code = (
        "import sys; from autodistill_rfdetr_seg.cli.command_line import main; "
        f"code = main(['build', {str(run)!r}, '--confidence', '0.9', '-q']); "
        "print(code, sorted({'torch', 'autodistill', 'supervision', 'transformers', 'rfdetr', 'own_base',"
        "'autodistill_rfdetr_seg.bases.threshold.threshold_base', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert index_of(run)["options"]["refine"]["confidence"] == 0.9
