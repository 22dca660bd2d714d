"""An import points from a later folder of the package to an earlier one, no files form a circle, and heavy vendors are
imported where they are used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAME = "autodistill_rfdetr_seg"
PACKAGE = ROOT / NAME
# The one list of layers: an import points from a later one to an earlier one. CONTRIBUTING.md names them in this order.
LAYERS = (
    "runtime",
    "core",
    "system",
    "engine",
    "images",
    "drawing",
    "coco",
    "readers",
    "bases",
    "labels",
    "dataset",
    "targets",
    "predict",
    "evaluation",
    "review",
    "report",
    "pipeline",
    "benchmarking",
    "roboflow_api",
    "cli",
    "__main__",
)
HEAVY = {
    "torch",
    "torchvision",
    "rfdetr",
    "transformers",
    "cv2",
    "skimage",
    "pycocotools",
    "supervision",
    "pyarrow",
    "ray",
    "av",
    "roboflow",
    "requests",
}
MAY_IMPORT_RFDETR = {"targets"}
# `package.module` or `package.module:Class` in a text: what is imported by it is imported all the same.
_BY_NAME = re.compile(rf"{NAME}((?:\.\w+)+)(?::\w+)?")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# The package's own `__init__` stands above all: it names the public functions wherever they are.
MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"}


def layer_of(module: str) -> int:
    return LAYERS.index(module.split(".")[0])


def own_imports(path: Path) -> Iterator[tuple[str, int]]:
    """(module of the package, line) of each import: at the top, late, for types only, or by a name in a text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names = [f"{module}.{alias.name}" for alias in node.names if alias.name != "__version__"]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            names = list(_named(node, package))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _BY_NAME.fullmatch(node.value):
            names = [node.value.partition(":")[0]]
        else:
            continue
        for name in names:
            if name == NAME or name.startswith(f"{NAME}."):
                yield _module(name.removeprefix(NAME).removeprefix(".")), node.lineno


def _named(call: ast.Call, package: tuple[str, ...]) -> Iterator[str]:
    """What an `import_module` of a literal imports; `.name` is relative, and `__package__` is the file's own."""
    name = call.args[0]
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        dots = len(name.value) - len(name.value.lstrip("."))
        base = ".".join(package[: len(package) + 1 - dots]) + "." if dots else ""
        yield base + name.value.lstrip(".")
    elif "__package__" in ast.unparse(name):
        yield ".".join(package if "partition" not in ast.unparse(name) else package[:1])


def _module(name: str) -> str:
    """The module that `name` is, or is in: `core.masks.area` is in `core.masks`; "" is the package's own `__init__`."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


ARROWS = {
    (module, other): line
    for module, path in MODULES.items()
    for other, line in own_imports(path)
    # A file may import its own folder's `__init__` by importing a module of it; that is no arrow.
    if other != module
}


def test_the_folders_are_the_layers() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert folders | files == set(LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_to_earlier_layers(module: str) -> None:
    for (source, other), line in ARROWS.items():
        if source == module:
            where = f"{module}:{line} imports {other or 'the package itself'}"
            assert other, where
            assert layer_of(other) <= layer_of(module), where


def test_no_files_form_a_circle() -> None:
    assert circles(ARROWS) == []


def circles(arrows: dict[tuple[str, str], int]) -> list[list[str]]:
    """The groups of files that import each other, by whatever way around."""
    graph: dict[str, set[str]] = {}
    for source, other in arrows:
        graph.setdefault(source, set()).add(other)
    reach = {source: _reached(graph, source) for source in graph}
    found = {tuple(sorted(b for b in reach[a] if a in reach.get(b, ()))) for a in graph if a in reach[a]}
    return [list(group) for group in sorted(found)]


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for other in graph.get(todo.pop(), ()):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return seen


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES.keys())
def test_heavy_vendors_are_imported_late(path: Path) -> None:
    for module, late in vendor_imports(path):
        top = module.split(".")[0]
        assert late or top not in HEAVY, f"{path.name} imports {module} when it is imported"
        assert top != "rfdetr" or path.relative_to(PACKAGE).parts[0] in MAY_IMPORT_RFDETR
        assert top != "ray" or path.relative_to(PACKAGE).parts[0] == "engine"


def vendor_imports(path: Path) -> list[tuple[str, bool]]:
    """(module, late) of each absolute import: late is in a function or for types only."""
    found = []

    def walk(node: ast.AST, late: bool) -> None:
        for child in ast.iter_child_nodes(node):
            checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            if isinstance(child, ast.Import):
                found.extend((alias.name, late) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                found.append((child.module or "", late))
            walk(child, late or checking or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    walk(ast.parse(path.read_text(encoding="utf-8")), late=False)
    return found


def test_what_a_bundle_takes_along_needs_numpy_and_pillow_alone() -> None:
    for module, path in MODULES.items():
        if module.startswith("runtime"):
            assert all(other.startswith("runtime") for source, other in ARROWS if source == module), module
            named = {name.split(".")[0] for name, _ in vendor_imports(path)} - set(sys.stdlib_module_names)
            assert named <= {"numpy", "PIL", "onnxruntime"}, module


def test_evaluation_imports_no_target_when_it_is_imported() -> None:
    code = (
        f"import sys, {NAME}.evaluation.model_scores; print([m for m in sys.modules if m.startswith('{NAME}.targets')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_test_imports_a_test() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        for module, _ in vendor_imports(path):
            assert not module.rpartition(".")[2].startswith(("test_", "conftest")), f"{path.name} imports {module}"


def test_benchmarks_and_examples_import_what_is_there() -> None:
    for path in sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(NAME):
                continue
            module = (node.module or "").removeprefix(NAME).removeprefix(".")
            source = (MODULES[module] if module else PACKAGE / "__init__.py").read_text(encoding="utf-8")
            for alias in node.names:
                inside = f"{module}.{alias.name}".removeprefix(".") in MODULES
                assert inside or re.search(rf"\b{alias.name}\b", source), f"{path.name}: {module} has no {alias.name}"


def test_no_two_modules_share_a_name() -> None:
    names = [module.rpartition(".")[2] for module, path in MODULES.items() if path.name != "__init__.py"]
    assert sorted(names) == sorted(set(names))


def test_every_folder_says_what_it_is_for() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert len((ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split()) >= 12, path


@pytest.mark.parametrize(
    "code",
    [
        "import autodistill_rfdetr_seg",
        "from autodistill_rfdetr_seg.cli.command_line import build_parser; build_parser()",
        "from autodistill_rfdetr_seg.system.config_files import load; import autodistill_rfdetr_seg.cli.commands",
    ],
)
def test_light_to_start(code: str) -> None:
    heavy = sorted(HEAVY | {"autodistill", "sklearn", "pandas", "PIL"})
    probe = f"import sys; {code}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    import autodistill_rfdetr_seg as package

    assert sorted(package.__all__) == sorted(package._HOMES)
    for name in package.__all__:
        assert getattr(package, name).__name__ in (name, name.removesuffix("_coco"))
    with pytest.raises(AttributeError, match="no attribute 'labell'"):
        package.labell  # noqa: B018


def test_what_works_around_a_vendor_names_the_thread_of_the_fault() -> None:
    thread = re.compile(r"https://github\.com/[\w-]+/[\w-]+/(issues|pull)/\d+")
    links = {
        path.relative_to(PACKAGE).as_posix(): re.findall(r"(?:https?:/*)?github\.com/[^\s),]+", path.read_text("utf-8"))
        for path in PACKAGE.rglob("*.py")
    }
    for name, found in links.items():
        assert all(thread.fullmatch(link) for link in found), name
    for name in (
        "bases/groundingdino_compat.py",
        "roboflow_api/sdk.py",
        "coco/writing.py",
        "targets/export/formats/openvino.py",
    ):
        assert links[name], name
    # Where each fault of rfdetr's list is dealt with: a part of `targets`, or a function of the very module.
    source = (PACKAGE / "targets" / "vendor.py").read_text("utf-8")
    told = ast.get_docstring(ast.parse(source)) or ""
    faults = told.split("\n- ")[1:]
    assert len(faults) > 10 and len(links["targets/vendor.py"]) > 10
    for fault in faults:
        named = re.findall(r"`([a-z_]+)`", fault)
        assert named, fault
        for name in named:
            here = f"def {name}(" in source or f"import {name}" in source
            assert here or any(name == module.rpartition(".")[2] for module in MODULES), name


def test_modules_that_moved_are_found_by_their_old_names() -> None:
    from autodistill_rfdetr_seg.bases.registry import create_base
    from autodistill_rfdetr_seg.core.moved_modules import MOVED, current_module
    from autodistill_rfdetr_seg.core.types import Classes

    files = {module for module, path in MODULES.items() if path.name != "__init__.py"}
    assert set(MOVED.values()) <= files and not MOVED.keys() & files
    assert current_module(f"{NAME}.target.family") == f"{NAME}.targets.rfdetr_seg"
    assert current_module("target.family") == "target.family"
    base = create_base(f"{NAME}.bases.threshold:ThresholdBase", Classes.from_ontology({"red": "washer"}))
    assert type(base).__module__ == f"{NAME}.bases.threshold.threshold_base"


def test_contributing_lists_the_layers_and_no_file_that_is_missing() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE) == list(LAYERS[:-1])
    for name in re.findall(r"`(\w+/[\w/]+(?:\.py|/))`", text):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name
