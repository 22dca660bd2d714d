"""A tiny model, its weights random, exported for real; runtimes and the bundle's runner are the real ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import supervision as sv
from autodistill.detection import CaptionOntology
from PIL import Image

from autodistill_rfdetr_seg.bases.base_classes import identity_of
from autodistill_rfdetr_seg.bases.registry import find_base, own_ontology
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.artifact_config import PARITY
from autodistill_rfdetr_seg.core.config import BaseConfig
from autodistill_rfdetr_seg.core.errors import DataError, DependencyError, GateError, OutputExistsError
from autodistill_rfdetr_seg.core.masks import fill_holes
from autodistill_rfdetr_seg.images.image_opening import open_rgb
from autodistill_rfdetr_seg.runtime.bilinear import resize
from autodistill_rfdetr_seg.runtime.bundle_command import as_json, read_image
from autodistill_rfdetr_seg.runtime.instance_mask import Mask
from autodistill_rfdetr_seg.runtime.output_decoding import Detection
from autodistill_rfdetr_seg.system.file_hash import file_sha256
from autodistill_rfdetr_seg.targets import RFDETRSeg, load_artifact, vendor, vendor_output
from autodistill_rfdetr_seg.targets.export import formats, vendor_export
from autodistill_rfdetr_seg.targets.export.export_format import ExportRequest
from autodistill_rfdetr_seg.targets.export.export_parity import (
    ExpectedImage,
    Samples,
    compare,
    expected_images,
    find_samples,
)
from autodistill_rfdetr_seg.targets.export.exporter import Exported, export_target
from autodistill_rfdetr_seg.targets.export.known_formats import find_format
from autodistill_rfdetr_seg.targets.inference.export_record import model_sha256
from autodistill_rfdetr_seg.targets.inference.model_artifacts import ExportedModel, TorchModel
from autodistill_rfdetr_seg.targets.student_base import StudentBase
from helpers.paths import SHARED_DATA
from helpers.tiny_checkpoint import NAMES, assert_same, save
from helpers.tiny_training import TINY, draw, write_coco

pytestmark = pytest.mark.slow

WITHOUT_TORCH = """
import sys, runpy

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "rfdetr", "supervision", "cv2", "autodistill_rfdetr_seg"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export") / "run"
    save(root / "training" / "checkpoint_best_total.pth")
    write_coco(root / "dataset", {"train": 1, "valid": 3}, ((1, "ant"), (2, "bee")), used=2)
    return root


@pytest.fixture(scope="module")
def target(run: Path) -> RFDETRSeg:
    return RFDETRSeg.from_checkpoint(run / "training" / "checkpoint_best_total.pth", device="cpu")


@pytest.fixture(scope="module")
def bundle(run: Path, target: RFDETRSeg) -> Exported:
    done = target.export(bundle=True)
    assert isinstance(done, Exported)
    return done


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Real images where they are here, and drawn ones."""
    drawn = [image for _, image in find_samples(None, None, 3).images]
    if not SHARED_DATA.is_dir():
        return drawn
    return drawn + [open_rgb(path) for path in sorted(SHARED_DATA.rglob("*.jpg"))[:3]]


def test_onnx_finds_what_torch_finds(bundle: Exported, run: Path, target: RFDETRSeg, photos: list[np.ndarray]) -> None:
    assert bundle.root == run / "export" / "onnx-fp32"
    record = json.loads((bundle.root / "export.json").read_text())
    assert record["checkpoint_sha256"] == file_sha256(run / "training" / "checkpoint_best_total.pth")
    assert record["files"] == {"model.onnx": file_sha256(bundle.artifact)}
    assert record["model"]["class_names"] == NAMES and record["model"]["slots"] == [0, 1, None]
    assert (record["format"], record["opset"], record["model"]["input_size"]) == ("onnx", 17, 96)
    parity = record["parity"]
    assert parity["passed"] and parity["samples"] == "valid split" and parity["images"] == 3
    assert parity["instances"] > 3 and parity["mask_iou"] > 0.999 and parity["score_difference"] < 1e-4
    exported = load_artifact(bundle.root, "cpu")
    assert exported.class_names == tuple(NAMES) and (exported.kind, exported.precision) == ("onnx", "fp32")
    assert load_artifact(bundle.artifact, "cpu").path == bundle.artifact
    for found, told in zip(exported.predict_batch(photos, 0.2), target.predict_batch(photos, 0.2), strict=True):
        assert_same(found, told)
    torch_form = load_artifact(run, "cpu")
    assert (torch_form.kind, torch_form.input_size) == ("torch", 96)
    assert_same(torch_form.predict_batch(photos[:1], 0.2)[0], target.predict_batch(photos[:1], 0.2)[0])


def test_openvino_through_the_command_line(
    run: Path, tmp_path: Path, photos: list[np.ndarray], target: RFDETRSeg, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "ov"
    assert main(["export", str(run), "--format", "openvino", "--output", str(output), "--json", "-q"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["artifact"] == str(output / "model.xml") and set(result["files"]) == {"model.bin", "model.xml"}
    assert result["parity"]["mask_iou"] > 0.999
    found = load_artifact(output, "cpu").predict_batch(photos[:2], 0.2)
    for one, told in zip(found, target.predict_batch(photos[:2], 0.2), strict=True):
        assert_same(one, told)
    before = model_sha256(output)
    weights = bytearray((output / "model.bin").read_bytes())
    weights[len(weights) // 2] ^= 0x40
    (output / "model.bin").write_bytes(weights)
    assert model_sha256(output) != before


def test_batches_and_another_resolution(target: RFDETRSeg, tmp_path: Path, photos: list[np.ndarray]) -> None:
    done = target.export(tmp_path / "out", batch_size=2, resolution=72)
    assert done.parity is not None and done.parity.mask_iou > 0.999
    found = ExportedModel(done.root, "cpu").predict_batch(photos[:3], 0.2)
    told = TorchModel(target.detector, None, 72).predict_batch(photos[:3], 0.2)
    for one, other in zip(found, told, strict=True):
        assert_same(one, other)
    assert not np.array_equal(told[0].confidence, target.predict_batch(photos[:1], 0.2)[0].confidence)


def test_a_dynamic_batch_takes_any_number_and_a_fixed_one_is_filled_up(
    target: RFDETRSeg, bundle: Exported, run: Path, tmp_path: Path, photos: list[np.ndarray], capsys: Any
) -> None:
    assert bundle.record["model"]["batch_size"] == 0 and bundle.record["model"]["most_images"] is None
    dynamic = ExportedModel(bundle.root, "cpu")
    sizes: list[int] = []
    network = dynamic._session
    dynamic._session = lambda batch: sizes.append(len(batch)) or network(batch)  # type: ignore[func-returns-value]
    for count in (1, 3):
        found = dynamic.predict_batch(photos[:count], 0.2)
        for one, told in zip(found, target.predict_batch(photos[:count], 0.2), strict=True):
            assert_same(one, told)
    dynamic.spec = {**dynamic.spec, "most_images": 2}
    assert len(dynamic.predict_batch(photos[:3], 0.2)) == 3
    assert sizes == [1, 3, 2, 1] and dynamic.predict_batch([], 0.2) == []
    for options, said in (([], "any number of images at once"), (["--batch-size", "3"], "3 images at once (fixed; ")):
        assert main(["export", str(run), "--output", str(tmp_path / str(len(options))), "-q", *options]) == 0
        assert f"input     96 x 96 pixels (fixed; images are resized to it), {said}" in capsys.readouterr().out


def test_the_bundle_has_tiles_and_confidences(bundle: Exported, tmp_path: Path, photos: list[np.ndarray]) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(bundle.root, folder)
    large = np.concatenate([np.concatenate([photos[0]] * 2, axis=0)] * 2, axis=1)
    Image.fromarray(large).save(tmp_path / "large.png")

    def found(*options: str, code: int = 0) -> Any:
        done = run_bundle(folder, str(tmp_path / "large.png"), *options)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    tiles = ["--tiles", str(photos[0].shape[0]), "--overlap", "0"]
    exported = load_artifact(bundle.root, "cpu")
    told = exported.predict(large, 0.2, color="rgb", tiles=photos[0].shape[0], overlap=0.0)
    assert [one["score"] for one in found("--confidence", "0.2", *tiles)] == pytest.approx(told.confidence.tolist())
    assert len(found("--confidence", "0.2", "--keep-duplicates")) == len(exported.predict_batch([large], 0.2)[0])
    named = found("--confidence", f"{NAMES[1]}=0.2", "--confidence", f"{NAMES[0]}=1")
    assert {one["class_name"] for one in named} == {NAMES[1]}
    assert "exported before it was evaluated" in found("--confidence", "best", code=1)
    assert "There is no class 'wasp'" in found("--confidence", "wasp=0.5", code=1)
    assert "between 0 and 1" in found("--confidence", "7", code=1)
    assert "A tile of 3 pixels is too small" in found("--tiles", "3", code=1)
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(model | {"best_confidence": {NAMES[1]: 0.2, NAMES[0]: 1.0}}))
    assert found("--confidence", "best") == named


def run_bundle(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(folder / "run.py"), *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder.parent, check=False)


def tamper(file: Path) -> None:
    """Moves the scores of one class, as a tool that optimises a model wrongly might."""
    import onnx

    model = onnx.load(file)
    logits = next(node for node in model.graph.node if "labels" in node.output)
    biased = next(i for i in model.graph.initializer if i.name in logits.input or i.name == "class_embed.bias")
    values = onnx.numpy_helper.to_array(biased).copy()
    values[..., 0] += 1.5
    biased.CopyFrom(onnx.numpy_helper.from_array(values, biased.name))
    onnx.save(model, file)


def test_the_bundle_runs_and_checks_itself_without_torch(
    bundle: Exported, target: RFDETRSeg, tmp_path: Path, photos: list[np.ndarray]
) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(bundle.root, folder)
    names = {path.name for path in folder.iterdir()}
    assert names >= {"model.onnx", "model.json", "run.py", "golden", "README.md", "requirements.txt", "LICENSE.md"}
    checked = run_bundle(folder, "--check")
    assert (checked.returncode, checked.stdout) == (0, "0 differences\n"), checked.stderr
    # A sideways photo with its orientation in EXIF; the masks are compared at the size it is seen at.
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photos[-1]).save(tmp_path / "photo.jpg", quality=95, exif=exif.tobytes())
    done = run_bundle(folder, str(tmp_path / "photo.jpg"), "--confidence", "0.2")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    told = target.predict(tmp_path / "photo.jpg", 0.2)
    assert [one["class_name"] for one in found] == list(told.data["class_name"])
    for one, mask, score in zip(found, told.mask, told.confidence, strict=True):
        rle = one["segmentation"]
        assert rle["size"] == list(mask.shape) == [photos[-1].shape[1], photos[-1].shape[0]]
        dense = np.repeat(np.arange(len(rle["counts"])) % 2 == 1, rle["counts"]).reshape(rle["size"], order="F")
        assert (dense != mask).mean() < 1e-3 and abs(one["score"] - score) < 0.01
    tamper(folder / "model.onnx")
    checked = run_bundle(folder, "--check")
    assert checked.returncode == 1
    assert "with score" in checked.stdout and not checked.stdout.endswith("\n0 differences\n")


def test_the_bundle_reads_grey_of_more_than_8_bits(bundle: Exported, tmp_path: Path, photos: list[np.ndarray]) -> None:
    grey = photos[0].mean(axis=2).astype(np.uint8)
    grey[0, :2] = 0, 255
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    assert np.array_equal(read_image(tmp_path / "16.png"), open_rgb(tmp_path / "16.png"))
    plain, deep = (run_bundle(bundle.root, str(tmp_path / name), "--confidence=0.2") for name in ("8.png", "16.png"))
    assert plain.returncode == deep.returncode == 0 and len(json.loads(plain.stdout)) > 0, plain.stderr + deep.stderr
    assert deep.stdout == plain.stdout
    # A camera of 12 bits fills no more than these; the mark of a turned photo holds as for any other.
    exif = Image.Exif()
    exif[0x0112] = 6
    camera = (np.arange(20, dtype=np.uint16) * 215).reshape(4, 5)
    Image.fromarray(camera).save(tmp_path / "12.tif", exif=exif.tobytes())
    turned = np.rot90(camera.astype(int) * 255 // 4095, -1)
    assert np.array_equal(read_image(tmp_path / "12.tif"), np.repeat(turned[..., None], 3, axis=2))
    share = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    Image.fromarray(share).save(tmp_path / "share.tif")
    assert read_image(tmp_path / "share.tif")[..., 0].ravel().tolist() == (share.ravel() * 255).astype(int).tolist()


def test_the_bundle_says_what_it_cannot_read(bundle: Exported, tmp_path: Path) -> None:
    (tmp_path / "words.jpg").write_text("no image")
    for name, said in (("gone.jpg", "No such file"), ("words.jpg", "cannot identify image file")):
        done = run_bundle(bundle.root, str(tmp_path / name))
        assert done.returncode == 1 and not done.stdout
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ") and said in line and name in line


def test_masks_keep_their_holes(bundle: Exported, target: RFDETRSeg, photos: list[np.ndarray]) -> None:
    exported = load_artifact(bundle.root, "cpu")
    holes = 0
    for photo in photos:
        told, found = target.predict_batch([photo], 0.2)[0], exported.predict_batch([photo], 0.2)[0]
        for mask, other in zip(told.mask, found.mask, strict=True):
            hole = fill_holes(mask, mask.size) & ~mask
            if hole.sum() > 50:
                holes += 1
                assert other[hole].mean() < 0.02
    assert holes > 0
    ring = np.zeros((9, 7), dtype=bool)
    ring[1:8, 0:6] = True
    ring[3:5, 2:4] = False
    data = as_json(Detection(1, 0.5, np.zeros(4, np.float32), Mask.from_pixels(ring)), NAMES)
    from pycocotools import mask as coco_mask

    rle = coco_mask.frPyObjects(data["segmentation"], 9, 7)
    assert np.array_equal(coco_mask.decode(rle).astype(bool), ring) and data["class_name"] == "Bee, 2nd"


def test_a_tampered_artifact_fails_the_gate(
    bundle: Exported, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle.root, copy)
    assert main(["export", str(run), "--check", str(copy), "-q"]) == 0
    assert "agree (mean mask IoU 1.0000" in capsys.readouterr().out
    tamper(copy / "model.onnx")
    assert main(["export", str(run), "--check", str(copy), "-q"]) == 5
    error = capsys.readouterr().err
    found = bundle.parity.instances
    assert found > 0
    assert f"Error: The export does not find what the model finds: {found} instances in 3 images: " in error
    assert "ant with score" in error and "is missing (nearest: " in error and "mask IoU" in error
    (copy / "model.onnx").write_bytes(b"no model")
    assert main(["export", str(run), "--check", str(copy), "-q"]) == 1
    assert "cannot be loaded as onnx" in capsys.readouterr().err


def spoil_the_second(file: Path) -> None:
    """Turns the scores over in the second place of a batch, and there alone."""
    import onnx

    model = onnx.load(file)
    node = next(node for node in model.graph.node if "labels" in node.output)
    node.output[list(node.output).index("labels")] = "all"
    signs = onnx.numpy_helper.from_array(np.array([[[1]], [[-1]]], np.float32), "signs")
    model.graph.initializer.append(signs)
    model.graph.node.append(onnx.helper.make_node("Mul", ["all", "signs"], ["labels"]))
    onnx.save(model, file)


def test_every_place_of_a_batch_is_judged(
    run: Path, target: RFDETRSeg, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    target.export(out, batch_size=2, bundle=True)
    # One image has to stand in both places.
    check = ["export", str(run), "--check", str(out), "-q"]
    alone = [*check, "--samples", str(run / "dataset" / "valid" / "0.png")]
    assert main(check) == main(alone) == 0 and run_bundle(out, "--check").stdout == "0 differences\n"
    spoil_the_second(out / "model.onnx")
    for command in (check, alone):
        capsys.readouterr()
        assert main(command) == 5
        assert ".png in place 2 of a batch of 2: " in capsys.readouterr().err
    checked = run_bundle(out, "--check")
    # Each of the golden images has been there once.
    said = {line.partition(":")[0] for line in checked.stdout.splitlines()[:-1] if "mean mask IoU" not in line}
    assert checked.returncode == 1 and said == {f"{at}.png in place 2" for at in range(3)}


def test_a_batch_is_filled_with_images_that_have_something_in_them() -> None:
    class Counting(Fixed):
        batch_size = 4
        asked: ClassVar[list[list[int]]] = []

        def predict_batch(self, images: Any, confidence: float = 0.5) -> list[sv.Detections]:
            self.asked.append([int(image[0, 0, 0]) for image in images])
            return super().predict_batch(images, confidence)

    samples = Samples("given", tuple((f"{at}", np.full((10, 10, 3), at, np.uint8)) for at in range(5)))
    wanted = [ExpectedImage(f"{at}", 0.3, (found(0, 0.8, 8),) if at in (1, 3) else ()) for at in range(5)]
    parity = compare(wanted, Counting(found(0, 0.8, 8)), samples, PARITY["fp32"])  # type: ignore[arg-type]
    # 0 and 2 are always first and third; only the third batch shows what those places find.
    assert Counting.asked == [[0, 1, 2, 3], [4, 1, 3, 1], [1, 3, 1, 3]]
    assert parity.images == 5 and parity.instances == 2
    assert {one.partition(":")[0] for one in parity.differences} == {
        f"{name} in place {place} of a batch of 4" for name, place in ((0, 1), (2, 3), (4, 1))
    }


def test_what_fails_is_set_aside_and_what_was_there_stays(
    target: RFDETRSeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    first = target.export(output)
    before = file_sha256(first.artifact)
    with pytest.raises(OutputExistsError, match="not empty"):
        target.export(output)
    write = vendor_export.write

    def write_wrongly(*arguments: Any) -> Path:
        path = write(*arguments)
        tamper(path)
        return path

    monkeypatch.setattr(vendor_export, "write", write_wrongly)
    with pytest.raises(GateError, match="is missing") as caught:
        target.export(output, overwrite=True)
    assert file_sha256(first.artifact) == before
    failed = json.loads((tmp_path / "out.failed" / "export.json").read_text())["parity"]
    assert not failed["passed"] and failed["differences"] and "out.failed" in str(caught.value.hint)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.failed"]
    # Nothing that is no export is replaced, whatever is asked for.
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="not an export"):
        target.export(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--format", "onx"], 2, "did you mean 'onnx'"),
        (["--format", "tensorrt"], 1, "pip install 'rfdetr[tensorrt]'"),
        (["--format", "litert", "--precision", "fp16"], 2, "litert has no precision 'fp16'"),
        (["--format", "openvino", "--bundle"], 2, "Use --format onnx"),
        (["--resolution", "100"], 2, "Use 96 or 108"),
        (["--batch-size", "0"], 2, "batch size is 0"),
        (["--samples", "gone"], 3, "no samples gone"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    options: list[str], code: int, said: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "tensorrt" in options and find_spec("tensorrt"):
        pytest.skip("TensorRT is here")
    assert main(["export", str(run), "--output", str(tmp_path / "out"), *options]) == code
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


FORMAT_FILE = """
from autodistill_rfdetr_seg.targets.export.export_format import ExportFormat
from autodistill_rfdetr_seg.targets.export.known_formats import find_format


def write(detector, folder, request):
    path = find_format("onnx").write(detector, folder, request)
    turned = folder / "model.xno"
    turned.write_bytes(path.read_bytes()[::-1])
    path.unlink()
    return turned


def open_session(path, precision, device):
    straight = path.with_suffix(".onnx")
    straight.write_bytes(path.read_bytes()[::-1])
    session = find_format("onnx").open_session(straight, precision, device)
    straight.unlink()
    return session if not (path.parent / "wrong").exists() else lambda batch: [one * 0 for one in session(batch)]


FORMATS = [
    ExportFormat(
        "xnno", (".xno",), ("onnx",), "pip install onnx", {"fp32": {}}, write=write, open_session=open_session
    )
]
"""


def test_an_export_format_is_one_file(
    run: Path,
    target: RFDETRSeg,
    tmp_path: Path,
    photos: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "onnx_backwards.py").write_text(FORMAT_FILE)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path / "more")])
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "onnx, openvino, tensorrt, xnno, coreai" in " ".join(capsys.readouterr().out.split())
    assert main(["export", str(run), "--format", "xno"]) == 2
    assert "did you mean 'xnno'" in capsys.readouterr().err
    assert main(["export", str(run), "--format", "xnno", "--precision", "fp16"]) == 2
    assert "xnno has no precision 'fp16'. Hint: It has fp32." in " ".join(capsys.readouterr().err.split())
    out = tmp_path / "out"
    assert main(["export", str(run), "--format", "xnno", "--output", str(out), "--json", "-q"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["format"], record["artifact"], list(record["files"])) == (
        "xnno",
        str(out / "model.xno"),
        ["model.xno"],
    )
    assert record["parity"]["passed"] and record["parity"]["instances"] > 3
    assert_same(load_artifact(out, "cpu").predict_batch(photos[:1], 0.2)[0], target.predict_batch(photos[:1], 0.2)[0])
    (out / "wrong").touch()
    assert main(["export", str(run), "--check", str(out), "-q"]) == 5
    assert "is missing" in capsys.readouterr().err
    # Without its record nobody knows the classes; it is not taken for a checkpoint of torch.
    shutil.copy(out / "model.xno", tmp_path / "alone.xno")
    with pytest.raises(DataError, match=r"no export\.json of .*alone\.xno"):
        load_artifact(tmp_path / "alone.xno")
    monkeypatch.undo()
    assert main(["export", str(run), "--format", "xnno"]) == 2
    assert "Unknown export format 'xnno'" in capsys.readouterr().err


def test_half_precision(target: RFDETRSeg, tmp_path: Path, photos: list[np.ndarray]) -> None:
    if find_spec("onnxconverter_common") is None:
        with pytest.raises(DependencyError, match="onnxconverter_common"):
            target.export(tmp_path / "out", precision="fp16")
        pytest.skip("onnxconverter-common is not here")
    # Of random weights many proposals are all but equal, and half precision orders them anew: only the gate's verdict
    # and the form are looked at.
    try:
        target.export(tmp_path / "out", precision="fp16")
        folder = tmp_path / "out"
    except GateError:
        folder = tmp_path / "out.failed"
    half = ExportedModel(folder, "cpu")
    full = vendor_export.write(find_format("onnx"), target.detector, tmp_path / "full", ExportRequest("fp32", 96))
    assert half.precision == "fp16" and half.path.stat().st_size < 0.6 * full.stat().st_size
    assert len(half.predict_batch(photos[:1], 0.2)[0]) > 0


class Fixed:
    """A model that says one thing of every image."""

    batch_size = 1

    def __init__(self, *found: Detection) -> None:
        self.found, self.class_names = found, tuple(NAMES)

    def predict_batch(self, images: Any, confidence: float = 0.5) -> list[sv.Detections]:
        kept = [one for one in self.found if one.score > confidence]
        return [
            sv.Detections(
                xyxy=np.zeros((len(kept), 4)),
                mask=np.array([one.mask for one in kept], dtype=bool).reshape(-1, 10, 10),
                confidence=np.array([one.score for one in kept]),
                class_id=np.array([one.class_id for one in kept], dtype=int),
            )
            for _ in images
        ]


def found(class_id: int, score: float, rows: int) -> Detection:
    mask = np.zeros((10, 10), dtype=bool)
    mask[:rows] = True
    return Detection(class_id, score, np.zeros(4, np.float32), Mask.from_pixels(mask))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ([found(0, 0.8, 8), found(1, 0.6, 4)], None),
        # Near-ties in another order, and what lies on the threshold, are no difference.
        ([found(1, 0.605, 4), found(0, 0.795, 8), found(1, 0.305, 2)], None),
        ([found(0, 0.8, 8), found(1, 0.6, 4), found(1, 0.35, 2)], "a.png: Bee, 2nd with score 0.350 is not expected"),
        ([found(0, 0.8, 8)], "a.png: Bee, 2nd with score 0.600 is missing"),
        ([found(0, 0.8, 8), found(0, 0.6, 4)], "(nearest: ant with score 0.600 and mask IoU 1.000)"),
        ([found(0, 0.77, 8), found(1, 0.6, 4)], "(nearest: ant with score 0.770 and mask IoU 1.000)"),
        ([found(0, 0.8, 9), found(1, 0.6, 4)], "a.png: ant with score 0.800 has mask IoU 0.889"),
    ],
)
def test_what_counts_as_a_difference(other: list[Detection], said: str | None) -> None:
    samples = Samples("given", (("a.png", np.zeros((10, 10, 3), np.uint8)),))
    wanted = [ExpectedImage("a.png", 0.3, (found(0, 0.8, 8), found(1, 0.6, 4)))]
    parity = compare(wanted, Fixed(*other), samples, PARITY["fp32"])  # type: ignore[arg-type]
    assert parity.passed == (said is None)
    assert said is None or said in parity.sentence()
    if said is None:
        assert parity.mask_iou == 1.0 and parity.instances == 2


def test_where_nothing_is_sure_the_best_are_compared() -> None:
    samples = Samples("given", (("a.png", np.zeros((10, 10, 3), np.uint8)),))
    many = [found(0, round(0.02 + at / 1000, 3), 3 + at) for at in range(7)]
    (weak,) = expected_images(Fixed(*reversed(many)), samples, PARITY["fp32"])  # type: ignore[arg-type]
    assert [one.score for one in weak.instances] == [0.026, 0.025, 0.024, 0.023, 0.022] and weak.confidence == 0.022
    (sure,) = expected_images(Fixed(found(0, 0.4, 2), *many), samples, PARITY["fp32"])  # type: ignore[arg-type]
    assert [one.score for one in sure.instances] == [0.4] and sure.confidence == 0.3
    with pytest.raises(DataError, match="nothing at all"):
        compare(expected_images(Fixed(), samples, PARITY["fp32"]), Fixed(), samples, PARITY["fp32"])  # type: ignore[arg-type]


def test_resizing_is_rfdetrs() -> None:
    import torch

    random = np.random.default_rng(3)
    for height, width in ((5, 9), (17, 11), (40, 60), (12, 12)):
        planes = random.normal(size=(2, 12, 16)).astype(np.float32)
        given = {"size": (height, width), "mode": "bilinear", "align_corners": False}
        wanted = torch.nn.functional.interpolate(torch.from_numpy(planes)[None], **given)[0].numpy()
        assert np.abs(resize(planes, height, width) - wanted).max() < 1e-5


def test_published_weights_have_cocos_ids() -> None:
    detector = vendor.build("nano", {**TINY, "num_classes": 90, "device": "cpu"})
    model = TorchModel(detector, None)
    assert model.class_names[model.spec["slots"][18]] == "dog" and model.class_names[model.spec["slots"][90]]
    assert len(model.spec["slots"]) == 91 and model.spec["slots"][0] is None and model.spec["slots"][12] is None
    image = draw(1)[0]
    (found,) = model.predict_batch([image], 0.0)
    with vendor_output.quiet_logs():
        told = detector.predict(image, threshold=0.0)
    named = [name for name in told.data["class_name"] if name]
    assert found.data["class_name"].tolist() == named and len(named) > 5
    assert [model.class_names[at] for at in found.class_id] == named


def test_an_export_predicts_evaluates_and_labels(
    bundle: Exported, run: Path, target: RFDETRSeg, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = run / "dataset" / "valid"
    predict = ["predict", str(bundle.root), str(images), "--confidence", "0.2", "--device", "cpu", "--json", "-q"]
    assert main([*predict, "--output", str(tmp_path / "found")]) == 0
    counts = json.loads(capsys.readouterr().out)["images"]
    assert main([*predict[:1], str(run), *predict[2:]]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == counts
    assert sum(sum(one.values()) for one in counts.values()) > 0
    gold = tmp_path / "gold"
    write_coco(gold, {"valid": 2}, ((1, NAMES[0]), (2, NAMES[1])), used=2)
    evaluate = ["evaluate", str(bundle.root), "--gold", str(gold / "valid"), "--json", "-q"]
    assert main(evaluate) == 0
    assert json.loads(capsys.readouterr().out)["instances"] == 2
    assert main([*evaluate, "--gate", "mask.ap50=1.1"]) == 5
    assert main([*evaluate, "--look-alikes", "4"]) == 2
    capsys.readouterr()
    # Several gold sets count together and each alone; their files may have the same ids.
    write_coco(tmp_path / "more", {"valid": 1}, ((1, NAMES[0]),), used=1)
    assert main([*evaluate, "--gold", str(tmp_path / "more" / "valid"), "--gate", "sets.valid-2.images=1"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["images"], {name: one["images"] for name, one in scores["sets"].items()}) == (
        3,
        {"valid-1": 2, "valid-2": 1},
    )
    # What `predict --output` wrote is read as it is.
    told = ["--predictions", str(tmp_path / "found" / "predictions.json"), "--gold", str(images)]
    assert main(["evaluate", *told, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == len(counts)
    name = str(bundle.root)
    assert own_ontology(BaseConfig(name=name)) == {one: one for one in NAMES}
    prints = identity_of(find_base(name), {"device": "cpu"})["checkpoint_sha256"]
    assert prints == model_sha256(bundle.root) != model_sha256(run)
    base = StudentBase(CaptionOntology({NAMES[1]: "bee"}), bundle.root, confidence=0.2, device="cpu")
    image = draw(1)[0]
    said, told = base.predict(image[..., ::-1]), target.predict_batch([image], 0.2)[0]
    assert len(said) == int((told.class_id == 1).sum()) > 0 and set(said.class_id) == {0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"artifact": "../model.onnx"}, "outside its folder"),
        ({"files": {"/etc/passwd": ""}}, "outside its folder"),
        ({"model": {"class_names": []}}, "not the record of an export"),
    ],
)
def test_a_damaged_record_is_refused(change: dict[str, Any], said: str, bundle: Exported, tmp_path: Path) -> None:
    record = json.loads((bundle.root / "export.json").read_text()) | change
    (tmp_path / "export.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=said):
        load_artifact(tmp_path)


def test_exporting_twice_gives_the_same_file(bundle: Exported, target: RFDETRSeg, tmp_path: Path) -> None:
    again = export_target(target, tmp_path / "again", bundle=True)
    for path in sorted(path for path in bundle.root.rglob("*") if path.is_file()):
        assert (again.root / path.relative_to(bundle.root)).read_bytes() == path.read_bytes(), path.name
