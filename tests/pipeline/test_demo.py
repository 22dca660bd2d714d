"""The demo's scenes: the same on every run, and their masks exactly what is to be seen."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.bases.registry import create_base
from autodistill_rfdetr_seg.core.config import PipelineConfig
from autodistill_rfdetr_seg.core.types import Classes
from autodistill_rfdetr_seg.images.image_discovery import discover
from autodistill_rfdetr_seg.images.image_opening import open_rgb
from autodistill_rfdetr_seg.pipeline.demo_run import demo_config
from autodistill_rfdetr_seg.pipeline.demo_scenes import ONTOLOGY, Scene, draw_scene, write_scenes

CHANNEL = {"washer": 0, "bolt": 1, "nut": 2}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(index) for index in range(24)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("demo") / "scenes", count=6, size=128)


def digest(scene: Scene) -> str:
    hashed = hashlib.sha256(scene.image.tobytes())
    for name, mask in scene.parts:
        hashed.update(name.encode() + mask.tobytes())
    return hashed.hexdigest()


def test_same_arguments_same_scene_and_other_seed_another() -> None:
    assert digest(draw_scene(3, seed=7)) == digest(draw_scene(3, seed=7))
    assert len({digest(draw_scene(3, seed=7)), digest(draw_scene(3, seed=8)), digest(draw_scene(2, seed=7))}) == 3


def test_a_scene_does_not_depend_on_how_many_are_made(folder: Path) -> None:
    assert (open_rgb(folder / "images" / "scene_0003.png") == draw_scene(3, size=128).image).all()


def test_images_are_rgb_and_of_the_size_asked_for(scenes: list[Scene]) -> None:
    assert all(scene.image.shape == (256, 256, 3) and scene.image.dtype == np.uint8 for scene in scenes)
    assert draw_scene(0, size=96).parts[0][1].shape == (96, 96)


def test_a_mask_covers_its_parts_colour_and_nothing_else(scenes: list[Scene]) -> None:
    for scene in scenes:
        everything = np.zeros(scene.image.shape[:2], dtype=bool)
        for name, mask in scene.parts:
            everything |= mask
            colour = scene.image[mask].mean(axis=0)
            others = np.delete(colour, CHANNEL[name])
            assert colour[CHANNEL[name]] > 1.4 * others.max()
        belt = scene.image[~everything].astype(float)
        # A pixel's worth of soft edge apart, what is left over is grey.
        assert np.mean(np.ptp(belt, axis=1) > 40) < 0.02


def test_overlapping_parts_have_disjoint_masks(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert sum((mask.astype(int) for _, mask in scene.parts), np.zeros(())).max(initial=0) <= 1


def test_some_parts_touch(scenes: list[Scene]) -> None:
    def touching(scene: Scene) -> bool:
        owner = sum(number * mask.astype(int) for number, (_, mask) in enumerate(scene.parts, start=1))
        side, other = np.asarray(owner)[:, 1:], np.asarray(owner)[:, :-1]
        return bool(((side != other) & (side > 0) & (other > 0)).any())

    assert sum(touching(scene) for scene in scenes if scene.parts) >= 6


def test_washers_and_nuts_have_holes_and_bolts_do_not(scenes: list[Scene]) -> None:
    with_hole = {name: [] for name in CHANNEL}
    for scene in scenes:
        for name, mask in scene.parts:
            with_hole[name].append(bool((binary_fill_holes(mask) & ~mask).any()))
    assert np.mean(with_hole["washer"]) > 0.6
    assert np.mean(with_hole["nut"]) > 0.6
    assert not any(with_hole["bolt"])


def test_scenes_have_two_or_three_parts_and_some_none(scenes: list[Scene]) -> None:
    numbers = [len(scene.parts) for scene in scenes]
    assert numbers.count(0) == 2
    assert set(numbers) == {0, 2, 3}
    classes = [[name for name, _ in scene.parts] for scene in scenes]
    assert 1 < sum(len(set(names)) < len(names) for names in classes) <= 10
    assert {name for scene in scenes for name, _ in scene.parts} == set(ONTOLOGY.values())


def test_no_part_is_nearly_hidden(scenes: list[Scene]) -> None:
    assert min(mask.sum() for scene in scenes for _, mask in scene.parts) > 300


def test_gold_is_coco_that_pycocotools_reads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    gold = COCO(str(folder / "gold" / coco.ANNOTATIONS))
    capsys.readouterr()
    assert [row["name"] for row in gold.loadCats(gold.getCatIds())] == ["washer", "bolt", "nut"]
    assert len(gold.imgs) == 6
    for index, image_id in enumerate(gold.getImgIds()):
        scene = draw_scene(index, size=128)
        rows = gold.loadAnns(gold.getAnnIds(imgIds=image_id))
        assert [gold.cats[row["category_id"]]["name"] for row in rows] == [name for name, _ in scene.parts]
        for row, (_, mask) in zip(rows, scene.parts, strict=True):
            assert (gold.annToMask(row).astype(bool) == mask).all()


def test_gold_lies_beside_its_own_images_and_not_among_those_to_label(folder: Path) -> None:
    truth = coco.read(folder / "gold")
    names = [image.image_id for image in truth.images]
    assert [path.name for path in discover(folder / "images")] == names
    assert [path.suffix for path in (folder / "images").iterdir()] == [".png"] * 6
    for image in truth.images:
        assert image.path.read_bytes() == (folder / "images" / image.image_id).read_bytes()


def test_writing_again_replaces(folder: Path, tmp_path: Path) -> None:
    made = write_scenes(tmp_path / "scenes", count=2, size=96)
    write_scenes(made, count=1, size=96)
    assert [path.name for path in (made / "images").iterdir()] == ["scene_0000.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


def test_the_demos_base_finds_the_parts(scenes: list[Scene]) -> None:
    config = demo_config(Path("scenes"))
    classes = Classes.from_ontology(config.ontology)
    base = create_base(config.base.name, classes, config.base.args)
    found, total = 0, 0
    for scene in scenes[:6]:
        masks = base.predict(np.ascontiguousarray(scene.image[:, :, ::-1])).mask
        for _, mask in scene.parts:
            total += 1
            found += any((mask & other).sum() > 0.75 * (mask | other).sum() for other in masks)
    assert found / total > 0.7


def test_the_pipeline_is_complete_and_every_target_option_is_rfdetrs(tmp_path: Path) -> None:
    from rfdetr.config import RFDETRSegNanoConfig, SegmentationTrainConfig

    config = demo_config(tmp_path)
    assert isinstance(config, PipelineConfig)
    assert config.images == str(tmp_path / "images")
    assert config.evaluation.gold == [str(tmp_path / "gold")]
    assert set(config.target.model) <= set(RFDETRSegNanoConfig.model_fields)
    assert set(config.target.train) <= set(SegmentationTrainConfig.model_fields)
    assert config.target.model["pretrain_weights"] is None
