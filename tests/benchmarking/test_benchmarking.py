"""A tiny model, its weights random, is measured in torch, onnxruntime and OpenVINO; ultralytics is a fake."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodistill_rfdetr_seg import evaluate_model
from autodistill_rfdetr_seg.benchmarking import Benchmark, benchmark
from autodistill_rfdetr_seg.benchmarking.benchmark_subjects import find_gold, find_images, find_rows
from autodistill_rfdetr_seg.benchmarking.benchmark_table import PUBLISHED, markdown
from autodistill_rfdetr_seg.benchmarking.latency import Latency, drift, measure, rotated, round_sizes
from autodistill_rfdetr_seg.benchmarking.machine_state import ClockMonitor
from autodistill_rfdetr_seg.benchmarking.model_process import BenchmarkRow, ModelJobs, ModelProcess, NotRunError
from autodistill_rfdetr_seg.benchmarking.ultralytics_model import YoloModel
from autodistill_rfdetr_seg.cli.command_line import main
from autodistill_rfdetr_seg.core.artifact_config import BenchmarkConfig
from autodistill_rfdetr_seg.core.errors import (
    DataError,
    DependencyError,
    MissingInputError,
    OutputExistsError,
    UnknownNameError,
    UsageError,
)
from autodistill_rfdetr_seg.pipeline.labeling_costs import peak_memory
from autodistill_rfdetr_seg.system.file_hash import file_sha256
from autodistill_rfdetr_seg.targets import RFDETRSegNano, load_artifact, vendor
from autodistill_rfdetr_seg.targets.export.vendor_export import as_published
from autodistill_rfdetr_seg.targets.inference.optimized_torch import OptimizedModel, computes_in
from helpers.tiny_checkpoint import NAMES, assert_same, save
from helpers.tiny_training import write_coco

pytestmark = pytest.mark.slow

CATEGORIES = tuple(enumerate(NAMES, 1))
# It finds what is red in a BGR image, and gives it the last class of the gold set.
ULTRALYTICS = """
import types
import numpy as np
import torch

class YOLO:
    task = "segment"
    names = {0: "ant", 4: "Bee, 2nd"}
    overrides = {"imgsz": 320}

    def __init__(self, path):
        assert open(path).read() == "weights"

    def predict(self, source, *, conf, imgsz, half, device, retina_masks, verbose):
        assert retina_masks and not half and not verbose and imgsz == 320 and device == "cpu"
        return [self._one(image, conf) for image in source]

    def _one(self, bgr, conf):
        mask = (bgr[..., 2] > 150) & (bgr[..., 0] < 100)
        if conf > 0.9 or not mask.any():
            boxes = types.SimpleNamespace(xyxy=torch.zeros(0, 4), conf=torch.zeros(0), cls=torch.zeros(0))
            return types.SimpleNamespace(boxes=boxes, masks=None)
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        boxes = types.SimpleNamespace(
            xyxy=torch.tensor([box]).float(), conf=torch.tensor([0.9]), cls=torch.tensor([4.0])
        )
        return types.SimpleNamespace(boxes=boxes, masks=types.SimpleNamespace(data=torch.tensor(mask)[None].float()))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("benchmark")
    save(folder / "run" / "training" / "checkpoint_best_total.pth")
    write_coco(folder / "gold", {"test": 3}, CATEGORIES, used=2)
    (folder / "lib" / "ultralytics").mkdir(parents=True)
    (folder / "lib" / "ultralytics" / "__init__.py").write_text(ULTRALYTICS)
    (folder / "yolo11n-seg.pt").write_text("weights")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def measured(root: Path) -> Benchmark:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "lib")
        return benchmark(
            root / "run",
            gold=root / "gold" / "test",
            yolo=root / "yolo11n-seg.pt",
            output=root / "out",
            formats=("torch", "onnx", "openvino"),
            device="cpu",
            runs=7,
            rounds=2,
            warm_up=1,
            progress=False,
        )


def test_a_latency_has_the_percentiles_of_numpy() -> None:
    ms = np.random.default_rng(3).gamma(2.0, 5.0, 101).tolist()
    found = Latency.from_times(ms)
    assert found.median == pytest.approx(sorted(ms)[50]) == pytest.approx(np.median(ms))
    assert found.p95 == pytest.approx(np.percentile(ms, 95)) == pytest.approx(sorted(ms)[95])
    assert (found.mean, found.least, found.most, found.runs) == (pytest.approx(np.mean(ms)), min(ms), max(ms), 101)


def test_neither_warming_up_nor_a_pause_counts() -> None:
    now, seen, slept = [0.0], [], []

    def call(number: int) -> None:
        seen.append(number)
        now[0] += 9.0 if len(seen) <= 2 else 0.001 * len(seen)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    found = measure(call, 3, 2, 0.5, clock=lambda: now[0], sleep=sleep)
    assert found == pytest.approx([3.0, 4.0, 5.0])
    assert seen == [0, 0, 0, 1, 2] and slept == [0.5] * 4


def test_rounds_take_turns() -> None:
    assert round_sizes(7, 3) == [3, 2, 2] and round_sizes(2, 5) == [1, 1]
    assert [rotated("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert drift([10.0, 12.0, 11.0]) == pytest.approx(0.2)


def test_every_form_is_measured(measured: Benchmark) -> None:
    assert [row["format"] for row in measured.rows] == ["torch", "onnx", "openvino", "yolo"] and not measured.not_run
    for row in measured.rows:
        latency = row["latency"]
        assert 0 < latency["least"] <= latency["median"] <= latency["p95"] <= latency["most"] < math.inf
        assert latency["least"] <= latency["mean"] <= latency["most"] and latency["runs"] == 7
        assert row["images_per_second"] == pytest.approx(1000 / latency["mean"])
        assert len(row["round_medians"]) == 2 and row["drift"] >= 0
        assert row["device"] == "cpu" and row["cuda_memory_bytes"] is None
        assert 1e6 < row["memory_bytes"] < 20e9 and 0 < row["cores"] < 64
        assert row["first_ms"] > 0 and row["clocks"]["note"]
    torch, onnx, openvino, yolo = measured.rows
    # What runs without torch must not have paid for it.
    assert max(onnx["memory_bytes"], openvino["memory_bytes"]) < torch["memory_bytes"]
    assert onnx["torch_threads"] is None and torch["torch_threads"] >= 1
    assert [row["size"] for row in measured.rows] == ["nano"] * 3 + [None]
    # It is called nano, and has neither nano's layers nor its input.
    assert [row["as_published"] for row in measured.rows] == [False] * 4
    assert (torch["input_size"], yolo["input_size"]) == (96, 320)
    # One and the same model on the same images; the fake finds the one square.
    assert torch["instances_per_image"] == onnx["instances_per_image"] == openvino["instances_per_image"] > 0
    assert yolo["instances_per_image"] == 1
    assert "agree" in onnx["parity"] and torch["parity"] is None


def test_accuracy_is_that_of_the_evaluator_for_the_same_artifact(measured: Benchmark, root: Path) -> None:
    places = {"torch": root / "run", **{p.name.split("-")[-2]: p for p in (root / "out" / "exports").iterdir()}}
    for row in measured.rows[:3]:
        report = evaluate_model(load_artifact(places[row["format"]], "cpu"), root / "gold" / "test", progress=False)
        assert row["mask"] == report.mask and row["box"] == report.box
    assert measured.rows[3]["mask"]["ap50"] == 1.0
    gold = measured.about["gold"]
    assert gold == {"images": 3, "instances": 3, "left_out": 0, "score_floor": 0.01}


def test_decoding_is_measured_separately(measured: Benchmark, root: Path) -> None:
    assert measured.about["decode_ms"]["runs"] == 3 and measured.about["decode_ms"]["median"] > 0
    assert measured.about["images"] == {"count": 3, "origin": "gold set", "least": [72, 96], "most": [72, 96]}
    assert "decoding a file (not in the rows)" in measured.to_markdown()
    drawn = find_images(None, None, [], 2)
    assert drawn.origin == "drawn" and len(drawn.pixels) == 2 and not drawn.decode_ms
    given = find_images(root / "gold", None, [], 2)
    assert given.origin == "given" and len(given.pixels) == len(given.decode_ms) == 2


def test_the_table_keeps_published_figures_apart(measured: Benchmark, root: Path) -> None:
    text = (root / "out" / "benchmark.md").read_text()
    assert text == measured.to_markdown() + "\n"
    assert json.loads((root / "out" / "benchmark.json").read_text()) == json.loads(json.dumps(measured.to_dict()))
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    head, *rows = table
    assert head[-1] == "published: AP, ms" and [row[-1] for row in rows] == ["–"] * 4
    at = head.index("median ms")
    assert [row[at] for row in rows] == [f"{row['latency']['median']:.1f}" for row in measured.rows]
    stages = ("decode ms", "input ms", "engine ms", "masks ms", "total ms")
    for row, cells in zip(measured.rows, rows, strict=True):
        decode, *parts, total = (cells[head.index(name)] for name in stages)
        assert float(total) == pytest.approx(float(decode) + row["latency"]["median"], abs=0.11)
        # What a YOLO model does inside is not known.
        wanted = [f"{row['stages'][name]:.1f}" for name in ("input", "engine", "masks")] if row["stages"] else ["–"] * 3
        assert parts == wanted and bool(row["stages"]) == (row["format"] != "yolo")
        assert sum(row["stages"].values()) < 1.5 * row["latency"]["median"]
    assert "AGPL-3.0" in text and "not measured here" in text and "2 rounds, the rows in turns" in text
    assert PUBLISHED["2xlarge"] == (49.9, 21.8)
    own = [row | {"as_published": at == 1} for at, row in enumerate(measured.rows)]
    cells = [line.split(" | ")[-1] for line in markdown({**measured.to_dict(), "rows": own}).splitlines()]
    assert [cell for cell in cells if cell.endswith(" |")][1:] == ["– |", "40.3, 3.4 |", "– |", "– |"]


def test_published_figures_need_the_architecture_and_input_of_the_size() -> None:
    def matches(size: str, input_size: int, **options: Any) -> bool:
        config = vendor.model_config(size, {"pretrain_weights": None, "num_classes": 3, **options})
        return as_published(config, input_size)

    assert matches("nano", 312) and matches("2xlarge", 768) and matches("nano", 312, group_detr=1, resolution=144)
    assert not matches("nano", 144, resolution=144) and not matches("small", 312)
    for option in ({"dec_layers": 2}, {"out_feature_indexes": [1]}, {"num_queries": 50}, {"hidden_dim": 128}):
        assert not matches("nano", 312, **option)


def test_a_gpu_that_onnxruntime_only_offers_is_not_used(
    root: Path, measured: Benchmark, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    # As onnxruntime-gpu says it on a machine without a GPU.
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    folder = next((root / "out" / "exports").glob("*-onnx-fp32"))
    image = find_images(root / "gold", None, [], 1).pixels[0]
    with pytest.warns(UserWarning, match="not in available provider names"):
        found = ModelJobs().load(BenchmarkRow("m", folder, "onnx", "fp32", 1), [image], "auto")
    assert found["device"] == "cpu" and found["first_ms"] > 0 and not capfd.readouterr().out
    with pytest.warns(UserWarning), pytest.raises(UsageError, match="has no device 'cuda'"):
        ModelJobs().load(BenchmarkRow("m", folder, "onnx", "fp32", 1), [image], "cuda")


def test_an_output_that_holds_something_is_refused(measured: Benchmark, root: Path) -> None:
    with pytest.raises(OutputExistsError):
        benchmark(root / "run", output=root / "out", formats=("torch",))


def test_throttling_is_reported_if_the_machine_reports_it(tmp_path: Path) -> None:
    silent = ClockMonitor(root=tmp_path, command=str(tmp_path / "none"))
    silent.sample()
    assert silent.result()["note"] == "not reported" and silent.result()["cpu_mhz"] is None

    cpu = tmp_path / "sys" / "devices" / "system" / "cpu" / "cpu0"
    (cpu / "cpufreq").mkdir(parents=True)
    (cpu / "thermal_throttle").mkdir()
    clock, count = cpu / "cpufreq" / "scaling_cur_freq", cpu / "thermal_throttle" / "core_throttle_count"
    count.write_text("7\n")
    monitor = ClockMonitor(root=tmp_path)
    for khz in ("3400000\n", "2100000\n"):
        clock.write_text(khz)
        monitor.sample()
    assert monitor.result()["cpu_mhz"] == [2100.0, 3400.0]
    assert monitor.result()["note"] == "CPU between 2100 and 3400 MHz"
    count.write_text("9\n")
    assert monitor.result()["note"] == "CPU throttled 2 times"


def test_a_gpu_is_asked_why_it_is_slow(tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"
    # A driver that knows the older name only; 0x24 is the power cap and the software's thermal slowdown.
    smi.write_text(
        '#!/bin/sh\ncase "$*" in *event_reasons*) exit 6;; *"-i 3"*) echo "1305, 0x0000000000000024";; esac\n'
    )
    smi.chmod(0o755)
    monitor = ClockMonitor("3", root=tmp_path, command=str(smi))
    monitor.sample()
    found = monitor.result()
    assert found["gpu_mhz"] == [1305.0, 1305.0]
    assert found["gpu_reasons"] == ["power cap", "software thermal slowdown"]
    assert found["note"] == "GPU power cap, software thermal slowdown"


def test_what_is_missing_is_reported_before_anything_runs(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = __import__("importlib.util").util.find_spec
    lacking = ("ultralytics", "tensorrt", "openvino")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name in lacking else real(name, *a))
    run = root / "run"
    weights = str(root / "yolo11n-seg.pt")
    assert main(["benchmark", str(run), "--yolo", weights, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[0] == "Error: A YOLO model needs ultralytics, which is not installed."
    assert said.err.splitlines()[1].startswith("Hint: Install it with: pip install ultralytics (AGPL-3.0)")
    assert not said.out and not (tmp_path / "out").exists()
    with pytest.raises(DependencyError, match="tensorrt in fp32 needs tensorrt"):
        find_rows([run], [], BenchmarkConfig(formats=("tensorrt",)))
    # What is not asked for by name is left out.
    assert [row.format for row in find_rows([run], [], BenchmarkConfig())] == ["torch", "onnx"]
    with pytest.raises(UnknownNameError, match="did you mean 'torchscript'"):
        find_rows([run], [], BenchmarkConfig(formats=("torchscrpt",)))
    with pytest.raises(MissingInputError):
        find_rows([root / "nothing"], [], BenchmarkConfig())
    with pytest.raises(UsageError, match="in a file"):
        benchmark(RFDETRSegNano())
    with pytest.raises(UnknownNameError, match="did you mean 'warm_up'"):
        benchmark(run, warmup=3)


def test_images_that_a_run_was_trained_on_are_no_gold(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "dataset").mkdir(parents=True)
    (run / "pipeline.yaml").write_text("images: photos\nontology: {red: ant}\n")
    images = [root / "gold" / "test" / f"{i}.png" for i in range(3)]

    def learn(*splits: str) -> None:
        entries: dict[str, Any] = {
            path.name: {"sha256": file_sha256(path), "split": split} for path, split in zip(images, splits, strict=True)
        }
        (run / "dataset" / "dataset.json").write_text(json.dumps({"images": entries}))

    learn("train", "test", "valid")
    found = find_gold([run], root / "gold" / "test")
    assert found is not None and found.left_out == 2
    assert [image.image_id for image in found.truth.images] == ["1.png"]
    learn("train", "train", "valid")
    with pytest.raises(DataError, match="trained on every image"):
        find_gold([run], root / "gold" / "test")
    assert find_gold([tmp_path / "elsewhere.pth"], None) is None


def test_a_failed_row_and_a_dead_process_are_reported_with_the_reason(root: Path) -> None:
    broken = root / "broken"
    broken.mkdir()
    (broken / "export.json").write_text("{}")
    process = ModelProcess()
    with pytest.raises(NotRunError, match="is not the record of an export") as caught:
        process.call("load", BenchmarkRow("m", broken, "onnx", "fp32", 1), [np.zeros((4, 4, 3), np.uint8)], "cpu")
    assert caught.value.failed
    process._process.kill()
    with pytest.raises(NotRunError, match="ended with exit code -9"):
        process.call("memory")
    process.stop()


def test_what_is_compiled_finds_the_same(root: Path) -> None:
    file = root / "run" / "training" / "checkpoint_best_total.pth"
    plain, images = (
        load_artifact(file, "cpu"),
        [np.roll(find_images(root / "gold", None, [], 1).pixels[0], 9 * i, 1) for i in range(3)],
    )
    compiled = OptimizedModel(file, "torchscript", "fp32", 2, "cpu")
    assert (compiled.kind, compiled.precision, compiled.batch_size) == ("torchscript", "fp32", 2)
    for one, other in zip(compiled.predict_batch(images, 0.1), plain.predict_batch(images, 0.1), strict=True):
        assert_same(one, other)
    assert compiled.predict_batch([]) == []


def test_half_precision_is_only_where_the_device_has_it(root: Path, tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nflags\t\t: fpu avx2 avx512_bf16\n")
    assert (
        computes_in("cpu", "bf16", info) and not computes_in("cpu", "fp16", info) and computes_in("cpu", "fp32", info)
    )
    assert not computes_in("cpu", "bf16", tmp_path / "none")
    if computes_in("cpu", "bf16"):
        file = root / "run" / "training" / "checkpoint_best_total.pth"
        half = OptimizedModel(file, "torch", "bf16", 1, "cpu")
        image = find_images(root / "gold", None, [], 1).pixels[0]
        one, other = half.predict_batch([image], 0.0)[0], load_artifact(file, "cpu").predict_batch([image], 0.0)[0]
        # Alike, and not the same: it did compute in 8 bits.
        difference = np.abs(one.confidence[:4] - other.confidence[:4]).max()
        assert 0 < difference < 0.3 and one.confidence.dtype == np.float32


def test_yolo_answers_as_an_artifact_does(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root / "lib")
    for name in ("OMP_NUM_THREADS", "YOLO_OFFLINE", "YOLO_AUTOINSTALL"):
        monkeypatch.setenv(name, "1")
    model = YoloModel(root / "yolo11n-seg.pt", "fp32", "cpu")
    image = find_images(root / "gold", None, [], 1).pixels[0]
    found, none = model.predict_batch([image, np.zeros_like(image)])
    assert model.class_names == ("ant", "Bee, 2nd") and found.class_id.tolist() == [1]
    assert list(found.data["class_name"]) == ["Bee, 2nd"] and found.mask.dtype == bool
    assert found.mask.shape == (1, 72, 96) and found.mask.sum() == 24 * 24
    assert len(none) == 0 and none.mask.shape == (0, 72, 96)
    with pytest.raises(MissingInputError, match="no YOLO weights"):
        YoloModel(root / "other.pt", "fp32", "cpu")


def test_a_process_does_not_count_the_memory_of_its_parent(root: Path) -> None:
    ballast = np.ones(100_000_000, np.uint8)
    process = ModelProcess()
    process._connection.send(("memory", ()))
    process._connection.recv()
    status = Path(f"/proc/{process._process.pid}/status")
    if status.is_file():
        assert int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 < (peak_memory() or 0)
    process.stop()
    assert ballast[0] == 1
