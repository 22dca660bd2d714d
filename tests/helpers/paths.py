"""Where the repository and the shared material are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
# Material beside the repository, where it is available.
SHARED = ROOT.parent / "shared"
SHARED_DATA = SHARED / "data"
README = (ROOT / "README.md").read_text(encoding="utf-8")
