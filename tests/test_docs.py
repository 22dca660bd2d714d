"""What the documents say is what the program does: commands exist and run, figures agree, links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import autodistill_rfdetr_seg as package
from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.bases.registry import BASES
from autodistill_rfdetr_seg.bases.segmenters.segmenter_registry import SEGMENTERS
from autodistill_rfdetr_seg.cli.command_line import COMMANDS, build_parser, main
from autodistill_rfdetr_seg.core import errors, masks
from autodistill_rfdetr_seg.core.artifact_config import PARITY, ExportConfig
from autodistill_rfdetr_seg.core.config import DISPLAY_CONFIDENCE, PipelineConfig, PredictConfig, parse
from autodistill_rfdetr_seg.evaluation.error_kinds import KINDS
from autodistill_rfdetr_seg.evaluation.score_tables import metrics_table
from helpers.paths import README, ROOT
from helpers.square_photos import photo, scenes
from helpers.tiny_pipeline import TINY

# By the path from the repository's root.
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
# One story: each page's commands use what those before it left.
STORY = (
    "tutorial/first_folder",
    "how_to/label_many_images",
    "how_to/review_labels",
    "how_to/correct_labels",
    "how_to/export",
)


def page(name: str) -> str:
    return PAGES[f"docs/{name}.md"]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Every command of our own in the shell blocks of a page."""
    lines = [line for block in blocks("bash", text) + blocks("console", text) for line in block.splitlines()]
    ours = [line.removeprefix("$ ") for line in lines]
    return [shlex.split(line, comments=True)[1:] for line in ours if line.startswith("autodistill-seg ")]


def test_the_table_of_commands_is_the_parsers() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*?) \|$", README, re.MULTILINE))
    assert {name: rows.get(name) for name in COMMANDS} == COMMANDS


EVERY = [args for text in PAGES.values() for args in commands(text)]


@pytest.mark.parametrize("args", EVERY, ids=" ".join)
def test_every_command_parses(args: list[str]) -> None:
    build_parser().parse_args(args)


def test_every_option_that_is_named_exists() -> None:
    page_of_commands = page("reference/command_line")
    known = set(re.findall(r"--[a-z][\w-]+", page_of_commands))
    others = {"--nnodes", "--nproc-per-node"}  # of torchrun
    others |= {"--head", "--disable-usage-stats", "--include-dashboard", "--generate", "--node-ip-address"}  # of ray
    others |= {"--node-manager-port", "--object-manager-port", "--min-worker-port", "--max-worker-port"}
    # Of hf, pip, http.server, the converter of OpenVINO, the packer of rfdetr, and our scripts.
    others |= {"--revision", "--directory", "--opt_out", "--model", "--segmenter-model", "--sam-model"}
    others |= {"--image-dir", "--annotations", "--output-dir"}
    others |= {"--sizes", "--commands", "--sets", "--rates", "--weights"}  # of benchmarks
    for name, text in PAGES.items():
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text))
        assert named <= known | others, name


def tiny_options() -> list[str]:
    """A tiny target in place of the published weights, which cannot be downloaded everywhere."""
    tiny = [f"--set=target.{key}={yaml.safe_dump(TINY[key], default_flow_style=True)}" for key in ("model", "train")]
    return [*tiny, "--batch-size=4", "--grad-accum-steps=1"]


@pytest.mark.train
def test_the_commands_run_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scenes(tmp_path / "made", 12)
    (tmp_path / "made" / "images").rename(tmp_path / "photos")
    (tmp_path / "gold" / "images").mkdir(parents=True)
    for i in range(2):
        photo(tmp_path / "gold" / "images" / f"{i}.png", 3 + i)
    gold = (tmp_path / "made" / "gold.json").read_text().replace("Square ", "washer")
    data = yaml.safe_load(gold)
    data["images"] = data["images"][:2]
    data["annotations"] = [a for a in data["annotations"] if a["image_id"] <= 2]
    # Not the very files that are labelled: those could be in the train split, and would be left out.
    for i in range(2):
        path = tmp_path / "gold" / "images" / f"{i}.png"
        path.write_bytes(path.read_bytes() + b"\0")
    (tmp_path / "gold" / "_annotations.coco.json").write_text(json.dumps(data))
    story = [args for name in STORY for args in commands(page(name)) if args[0] != "doctor"]
    assert [args[0] for args in story] == [
        *("label", "build", "train", "evaluate", "report", "predict"),
        *("label", "plan", "label", "label"),
        *("review", "explain", "import"),
        *("export", "predict"),
    ]
    for args in story:
        extra = [*tiny_options(), "--epochs=1"] if args[0] == "train" else []
        assert main([*args, *extra, "-q"]) == 0, capsys.readouterr().err
    assert (tmp_path / "runs" / "parts" / "report.html").is_file()
    assert (tmp_path / "found" / "predictions.json").is_file()


def test_the_pipeline_files_are_valid() -> None:
    files = [block for text in PAGES.values() for block in blocks("yaml", text)]
    assert files
    for block in files:
        assert parse(yaml.safe_load(block)).ontology["a puppy"] == "dog"


PYTHON = [(name, block) for name, text in PAGES.items() for block in blocks("python", text)]


@pytest.mark.parametrize(("name", "block"), PYTHON, ids=[name for name, _ in PYTHON])
def test_python_in_the_documents_compiles_and_imports(name: str, block: str) -> None:
    compile(block, name, "exec")
    for line in block.splitlines():
        if line.startswith("from autodistill_rfdetr_seg"):
            exec(line, {})


def test_the_python_of_the_page_on_repair_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scenes(tmp_path / "made", 3)
    for split in ("train", "valid"):
        (tmp_path / "dataset" / split / "images").mkdir(parents=True)
        for path in (tmp_path / "made" / "images").iterdir():
            (tmp_path / "dataset" / split / "images" / path.name).write_bytes(path.read_bytes() + split.encode())
        (tmp_path / "dataset" / split / coco.ANNOTATIONS).write_bytes((tmp_path / "made" / "gold.json").read_bytes())
    (block,) = blocks("python", page("how_to/repair_annotations"))
    found: dict[str, Any] = {}
    exec(block, found)
    assert len(found["truth"].images) == 3
    assert len(coco.read(tmp_path / "clean" / "valid").images) == 3
    assert "0" in capsys.readouterr().out


def test_the_base_and_the_segmenter_of_the_page_label(tmp_path: Path) -> None:
    scenes(tmp_path, 10)
    base, segmenter, entry = blocks("python", page("how_to/add_a_base"))
    found: dict[str, Any] = {}
    exec(entry, found)
    assert found["BLOBS"].target == "my_package.blobs:BrightBlobs"
    (tmp_path / "base.py").write_text(base)
    (tmp_path / "segmenter.py").write_text(segmenter)
    images, run, boxed = str(tmp_path / "images"), tmp_path / "run", tmp_path / "boxed"
    base_options = ["--base", f"{tmp_path / 'base.py'}:Everything", "--class", "all"]
    assert main(["label", images, *base_options, "--output", str(run), "-q"]) == 0
    assert areas(run) == {64 * 64}
    box_options = ["--base", "boxes", "--base-arg", f"file={tmp_path / 'gold.json'}", "--class", "Square"]
    more = ["--segmenter", f"{tmp_path / 'segmenter.py'}:Rectangles", "--output", str(boxed), "-q"]
    assert main(["label", images, *box_options, *more]) == 0
    drawn = areas(boxed)
    assert len(drawn) == 8 and drawn <= {width * height for width, height in gold_boxes(tmp_path / "gold.json")}


def gold_boxes(path: Path) -> list[tuple[int, int]]:
    """The width and height in pixels of each box."""
    return [(int(one["bbox"][2]), int(one["bbox"][3])) for one in json.loads(path.read_text())["annotations"]]


def areas(run: Path) -> set[int]:
    """The areas in pixels of all masks in a run's train split."""
    return {masks.area(one.rle) for image in coco.read(run / "dataset" / "train").images for one in image.instances}


def test_the_names_of_the_python_page_are_the_public_ones() -> None:
    text = page("reference/python")
    documented = set(re.findall(r"^::: autodistill_rfdetr_seg\.(\w+)$", text, re.MULTILINE))
    sizes = {name for name in package.__all__ if re.fullmatch(r"RFDETRSeg\w+", name)}
    assert documented == set(package.__all__) - sizes
    assert all(f"`{name}`" in text for name in sizes)


def test_versions_agree() -> None:
    assert f'\nversion = "{package.__version__}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"## {package.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_tables_of_pipelines_and_examples_are_the_folders() -> None:
    for folder in ("pipelines", "examples"):
        table = page("how_to/pipeline_file").split(f"| `{folder}/` |")[1].split("\n\n")[0]
        files = {path.name for path in (ROOT / folder).iterdir() if path.suffix in (".py", ".yaml")}
        assert set(re.findall(r"^\| `(\w[\w.-]+)` \|", table, re.MULTILINE)) == files


def test_the_tables_of_bases_and_segmenters_are_the_registry() -> None:
    bases, segmenters = page("reference/bases").split("\n## ")[1:3]
    rows = r"^\| `([a-z][\w-]+)` \|"
    assert set(re.findall(rows, bases.split("\n### ")[0], re.MULTILINE)) == set(BASES)
    assert set(re.findall(rows, segmenters, re.MULTILINE)) == set(SEGMENTERS)
    for name in ("grounded-sam", "grounded-sam-hf", "sam3"):
        size = sum(size for _, size in BASES[name].weights) / 1e9
        assert re.search(rf"^\| `{name}` \|.*\| {size:.1f} GB", README, re.MULTILINE), f"{name}: {size:.1f} GB"
    assert all(f"`{name}`" in README for name in (*BASES, *SEGMENTERS))


def test_the_reference_is_generated_from_the_code(tmp_path: Path) -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate_reference.py"))
    generate["main"](str(tmp_path))
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["command_line.md", "configuration.md"]
    for name in written:
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert text == PAGES[f"docs/reference/{name}"], f"{name} is not up to date: run `make docs`"
    headings = re.findall(r"^## (.+)$", page("reference/command_line"), re.MULTILINE)
    assert headings == list(COMMANDS)
    for group, field in PipelineConfig.model_fields.items():
        names = getattr(field.annotation, "model_fields", {})
        for key in [f"{group}.{name}" for name in names] or [group]:
            assert f"\n- `{key}`: " in page("reference/configuration"), key


def test_figures_are_those_of_the_code() -> None:
    config = PipelineConfig(images="photos")
    thresholds = page("explanation/scores_and_thresholds")
    for flag, value in (
        ("build --confidence", config.refine.confidence),
        ("--score-floor", config.evaluation.score_floor),
    ):
        assert re.search(rf"^\| `{flag}` \|.*\| {value:g} \|$", thresholds, re.MULTILINE), flag
    assert re.search(rf"^\| `predict --confidence` \|.*\| {DISPLAY_CONFIDENCE:g} \|$", thresholds, re.MULTILINE)
    limits, predicting = PredictConfig(), " ".join(page("how_to/predict").split())
    for flag, limit in (("nms-iou", limits.nms_iou), ("agnostic-nms-iou", limits.agnostic_nms_iou)):
        assert re.search(rf"\b{limit:g} \(`--{flag}`\)", predicting), flag
    assert f"where {limits.nms_iom:g} of the smaller of the two is shared (`--nms-iom`)" in predicting
    splits = page("explanation/splits_and_leaks")
    assert f"`--near-duplicates` bits ({config.split.near_duplicates} unless set)" in splits
    assert f"The limit is {config.evaluation.look_alikes} of 64 bits" in splits
    parity = page("explanation/parity")
    full, half, eighth = PARITY["fp32"], PARITY["fp16"], PARITY["int8"]
    assert f"on up to {full.samples} images" in parity and f"scores above {full.confidence:g} must" in parity
    assert f"| {full.score_difference:g} | {half.score_difference:g} | {eighth.score_difference:g} |" in parity
    assert f"| {full.mask_iou:g} | {half.mask_iou:g} | {eighth.mask_iou:g} |" in parity
    loss = f"{ExportConfig().largest_ap_loss:g}"
    assert f"under that of fp32 at most | | | {loss} |" in parity
    assert f"at most {loss} under that of fp32" in " ".join(page("how_to/export").split())
    assert f"up to {ExportConfig().calibration_images} images of the run's train split" in page("how_to/export")
    megapixels = f"larger than {config.inputs.max_megapixels:g} megapixels"
    assert megapixels in page("how_to/label_many_images") and megapixels in page("how_to/tiles")


def test_the_page_of_exit_codes_is_the_tree_of_errors() -> None:
    rows = re.findall(r"^[│├└─ ]*(\w+Error)\s+(\d)", page("reference/exit_codes"), re.MULTILINE)
    tree = {
        name: str(one.exit_code)
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, errors.AutodistillSegError)
    }
    assert dict(rows) == tree


def test_the_demos_table_is_what_evaluate_prints() -> None:
    (shown,) = (block for block in README.split("```\n") if block.lstrip().startswith("mask AP"))
    metrics: dict[str, Any] = {"reference": "gold"}
    for who in ("base", "target"):
        numbers = re.findall(rf"^{who} +(.+)$", shown, re.MULTILINE)[0]
        ap, low, high, ap50, ap75, box, f1, confidence, ms = map(float, numbers.replace(" to ", " ").split())
        metrics[who] = {"mask": {"ap": ap, "ap50": ap50, "ap75": ap75}, "box": {"ap": box}, "best_f1": f1}
        metrics[who] |= {"best_confidence": confidence, "milliseconds": ms}
        metrics[who]["intervals"] = {"mask": {"ap": {"low": low, "high": high}}}
    images, instances = (int(re.findall(rf"(\d+) {what}", shown)[0]) for what in ("held-out images", "instances"))
    metrics |= {"images": images, "instances": instances, "all": {"images": images}}
    metrics |= {"held_out": {"images": images, "problem": None}}
    metrics["recovery"] = metrics["target"]["mask"]["ap"] / metrics["base"]["mask"]["ap"]
    low, high = (float(value) / 100 for value in re.findall(r"95% interval (\d+)% to (\d+)%", shown)[0])
    metrics["intervals"] = {"recovery": {"low": low, "high": high}}
    metrics["comparison"] = next(line for line in shown.splitlines() if line.startswith("The target is"))
    lost = dict.fromkeys(KINDS, 0.0)
    counts = dict.fromkeys(KINDS, 0)
    for kind, value, count in re.findall(r"(\w+) (\d\.\d+) \((\d+)\)", shown):
        lost[kind], counts[kind] = float(value), int(count)
    metrics["target"]["errors"] = {"ap50_lost": lost, "counts": counts}
    assert metrics_table(metrics) == shown.rstrip("\n")


def test_the_fixed_cameras_figures_agree() -> None:
    text = page("tutorial/fixed_camera")
    row = r".*?\| \**([\d.]+)\** \| ([\d.]+) \| (\d+) \|$"
    base, target = (re.findall(rf"^\| {who}{row}", text, re.MULTILINE)[0] for who in ("base", "target"))
    times = int(base[2]) // int(target[2])
    assert f"finds most of what its base misses, {times}\ntimes as fast" in text
    assert f"mask AP {target[0]} against {base[0]}, {times} times as fast" in README


def test_what_preflight_prints(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = page("how_to/train")
    (block,) = (block for block in blocks("console", text) if "--dry-run" in block)
    call, *lines = block.splitlines()
    (args,) = commands(f"```console\n{call}\n```")
    args[args.index("mushrooms")] = str(shared_data / "mushrooms")
    assert main([*args, "-q"]) == 0
    printed = capsys.readouterr().out
    # Of memory and disk, what this machine has, and whether it is enough, differs from machine to machine.
    for line in lines:
        start = re.split(r"(?<=estimate\), )|(?<=training, )", line)[0]
        status = ".{9}" if start != line else ""
        pattern = ".*".join(re.escape(part) for part in start[9 if status else 0 :].split("…"))
        assert re.search(f"^{status}{pattern}", printed, re.MULTILINE), f"{line}\n\n{printed}"


def test_the_readme_is_short_and_shows_first() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    assert len(re.findall(r"!\[", README)) == 1 and any("![" in line for line in lines[:8])
    first, *_ = blocks("console", README)
    assert [line.split("#")[0].split() for line in first.splitlines()] == [["make", "demo"], ["make", "test"]]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_every_link_leads_somewhere() -> None:
    for name, text in PAGES.items():
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", text):
            path = (ROOT / name).parent / target if target else ROOT / name
            assert path.is_file(), f"{name} links to {target}"
            if anchor:
                assert anchor in anchors(path.read_text(encoding="utf-8")), f"{name} links to {target}#{anchor}"
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
            path = ((ROOT / name).parent / picture).resolve()
            assert path.is_relative_to(ROOT / "docs" / "pictures")
            assert path.stat().st_size < 150_000


def test_every_page_is_in_the_menu_and_on_the_first_page() -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    sections = [next(iter(entry.values())) for entry in menu]
    listed = [one for section in sections for one in ([section] if isinstance(section, str) else section)]
    assert sorted(f"docs/{one}" for one in listed) == sorted(set(PAGES) - {"README.md"})
    linked = set(re.findall(r"\]\(([^)#:]+\.md)\)", page("index")))
    assert linked == set(listed) - {"index.md"}


def test_paths_in_the_documents_exist() -> None:
    for name, text in PAGES.items():
        for path in re.findall(r"`(?:python )?((?:examples|pipelines|benchmarks)/[\w.-]+)", text):
            assert (ROOT / path).exists(), f"{name} names {path}"


def test_plain_words() -> None:
    odd = r"begun? anew|go(?:ne)? on with|\bat hand\b|to be had|\bmends?\b|its like\b|tells? of\b|the first so many"
    spelling = r"(?i)unlabelled|labelling|colour|licence"
    for name, text in PAGES.items():
        if "generate_reference.py" in text:
            continue
        # The table of commands is the parser's text.
        written = re.sub("^" + re.escape("| `") + rf"({'|'.join(COMMANDS)})` .*$", "", text, flags=re.MULTILINE)
        found = re.findall(odd, written) + re.findall(spelling, written)
        assert not found, f"{name}: {found}"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings and "privacy" not in settings
    site, environment = tmp_path / "site", {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert any("evaluate_model" in one["location"] for one in index["docs"])
    remote = re.compile(r"<(?:link|script|img)[^>]+(?:src|href)=\"?(https?://[^\"> ]+)")
    for html in site.rglob("*.html"):
        fetched = remote.findall(html.read_text(encoding="utf-8"))
        assert not fetched, f"{html.name} fetches {fetched}"
    assert not list(site.rglob("*.py"))
