"""Versions of the packages that made something, without importing them."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata, util
from typing import Literal

from packaging.specifiers import SpecifierSet
from packaging.version import Version

PACKAGES = (
    "autodistill-rfdetr-seg",
    "rfdetr",
    "torch",
    "torchvision",
    "autodistill",
    "autodistill-grounded-sam",
    "transformers",
    "onnxruntime",
    "supervision",
    "pycocotools",
    "numpy",
    "opencv-python",
    "scikit-image",
    "pyarrow",
    "roboflow",
)


@dataclass(frozen=True)
class ReleaseRange:
    """The releases of another package that this one was run with: `oldest` and later ones, below `beyond`.

    One before `oldest` is known not to work; one from `beyond` on has not been tried. The order is that of PEP 440,
    but a pre-release of `beyond` counts as `beyond`.
    """

    package: str
    oldest: str
    beyond: str

    @property
    def requirement(self) -> str:
        """Them as pip takes it, such as `>=1.11.2,<1.12`."""
        return f">={self.oldest},<{self.beyond}"

    def installed(self) -> Literal["older", "tested", "newer"]:
        """Where the installed release stands.

        Raises:
            PackageNotFoundError: none is installed.
        """
        version = metadata.version(self.package)
        if SpecifierSet(self.requirement).contains(version, prereleases=True):
            return "tested"
        return "older" if Version(version) < Version(self.oldest) else "newer"


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Installed version of each package that is installed, and Python's."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def importable(module: str) -> bool:
    """Whether a module is installed, found without importing it (of a dotted name, the packages before it are)."""
    try:
        return util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
