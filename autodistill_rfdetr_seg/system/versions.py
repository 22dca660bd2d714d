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
    "onnxruntime",
    "supervision",
    "pycocotools",
    "numpy",
    "opencv-python",
    "scikit-image",
    "pyarrow",
    "roboflow",
)


def release(version: str) -> tuple[int, ...]:
    """Major and minor number of a version, to compare by."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Installed version of each package that is installed, and Python's."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
