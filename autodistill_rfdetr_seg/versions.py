"""Versions of the packages that made something, without importing them."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = (
    "autodistill-rfdetr-seg",
    "rfdetr",
    "torch",
    "torchvision",
    "autodistill",
    "autodistill-grounded-sam",
    "transformers",
    "supervision",
    "pycocotools",
    "numpy",
    "opencv-python",
    "scikit-image",
    "pyarrow",
    "roboflow",
)


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Installed version of each package that is installed, and Python's."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
