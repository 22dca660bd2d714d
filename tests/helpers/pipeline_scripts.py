"""The scripts of `pipelines/`, as modules."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from helpers.paths import ROOT

PIPELINES = ROOT / "pipelines"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(name).stem, PIPELINES / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
