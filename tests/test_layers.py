"""An import points down the list of layers only, and heavy vendors are imported where they are used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "autodistill_rfdetr_seg"
FLOORS = (
    ("errors",),
    ("records", "files", "ahead", "folders", "versions", "tables", "machine"),
    ("groundingdino_compat",),
    ("config", "masks", "depth"),
    ("images", "split", "fetching"),
    ("video_times",),
    ("video_frames",),
    ("similar", "video", "video_writer", "tracking", "copies", "image_names"),
    ("refine", "store", "coco"),
    ("readers",),
    ("inputs",),
    ("bases",),
    ("labeling", "together"),
    ("rows", "gaps"),
    ("dataset",),
    ("joining",),
    ("target",),
    ("evaluation",),
    ("stages",),
    ("look_alikes",),
    ("gold_sets", "gold_predictions"),
    ("scoring",),
    ("report",),
    ("predicted", "placing"),
    ("reporting", "predicting", "predicting_video", "importing", "explaining", "comparing", "previewing", "reviewing"),
    ("roboflow_api",),
    ("costs",),
    ("planning", "benchmarking"),
    ("pipeline", "demo", "doctor"),
    ("cli_options",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
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
    "av",
    "roboflow",
    "requests",
}
MAY_IMPORT_RFDETR = {"target"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool, bool]]:
    """(module, late, relative) of each import: late is in a function or for types only."""
    found = []

    def walk(node: ast.AST, late: bool) -> None:
        for child in ast.iter_child_nodes(node):
            checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            if isinstance(child, ast.Import):
                found.extend((alias.name, late, False) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.level:
                base = path.parents[child.level - 1].relative_to(PACKAGE).parts
                names = [child.module] if child.module else [alias.name for alias in child.names]
                found.extend((".".join((*base, name)), late, True) for name in names if name != "__version__")
            elif isinstance(child, ast.ImportFrom):
                found.append((child.module or "", late, False))
            walk(child, late or checking or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    walk(ast.parse(path.read_text(encoding="utf-8")), late=False)
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path) -> None:
    here = room_of(path)
    for module, late, relative in imports(path):
        top = module.split(".")[0]
        if relative and top and top != here:
            assert FLOOR[top] < FLOOR[here], f"{path.name} imports {module}"
        if not relative and top in HEAVY:
            assert late, f"{path.name} imports {module} when it is imported"
        if top == "rfdetr":
            assert here in MAY_IMPORT_RFDETR


def test_evaluation_never_sees_the_target() -> None:
    assert FLOOR["target"] < FLOOR["evaluation"]
    for path in (PACKAGE / "evaluation").rglob("*.py"):
        assert not any(module.split(".")[0] == "target" for module, _, relative in imports(path) if relative)


@pytest.mark.parametrize(
    "code",
    [
        "import autodistill_rfdetr_seg",
        "from autodistill_rfdetr_seg import cli; cli.build_parser()",
        "from autodistill_rfdetr_seg.config import load; import autodistill_rfdetr_seg.commands",
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
    for name in ("groundingdino_compat.py", "roboflow_api/sdk.py", "coco/writing.py", "target/sessions.py"):
        assert links[name], name
    # Where each fault of rfdetr's list is dealt with: a part of `target`, or a function of the very module.
    source = (PACKAGE / "target" / "vendor.py").read_text("utf-8")
    told = ast.get_docstring(ast.parse(source)) or ""
    faults = told.split("\n- ")[1:]
    assert len(faults) > 10 and len(links["target/vendor.py"]) > 10
    for fault in faults:
        named = re.findall(r"`([a-z_]+)`", fault)
        assert named, fault
        for name in named:
            here = f"def {name}(" in source or f"import {name}" in source
            assert here or (PACKAGE / "target" / f"{name}.py").exists() or (PACKAGE / f"{name}.py").exists(), name
