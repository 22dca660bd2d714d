from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from lamps import BASE, scene

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared real images are not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def speaking_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a tiny model of `ant` and `bee` that finds something; made once, not to be changed."""
    from tiny_target import save_speaking

    return save_speaking(tmp_path_factory.mktemp("speaking"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 pictures of a lamp, and the base that finds it, `base.py`, beside their folder."""
    for i in range(24):
        scene(tmp_path / "photos" / f"{i:02d}.png", i)
    (tmp_path / "base.py").write_text(BASE)
    return tmp_path / "photos"


def disc(height: int, width: int, x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def detections(masks: np.ndarray, class_id: list[int], confidence: list[float] | None = None) -> sv.Detections:
    return sv.Detections(
        xyxy=sv.mask_to_xyxy(masks).astype(float),
        mask=masks,
        class_id=np.array(class_id),
        confidence=None if confidence is None else np.array(confidence),
    )
