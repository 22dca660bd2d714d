from __future__ import annotations

from pathlib import Path

import pytest

from helpers.lamps import BASE, scene
from helpers.paths import SHARED_DATA


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared real images are not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def speaking_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a tiny model of `ant` and `bee` that finds something; made once, not to be changed."""
    from helpers.tiny_target import save_speaking

    return save_speaking(tmp_path_factory.mktemp("speaking"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 pictures of a lamp, and the base that finds it, `base.py`, beside their folder."""
    for i in range(24):
        scene(tmp_path / "photos" / f"{i:02d}.png", i)
    (tmp_path / "base.py").write_text(BASE)
    return tmp_path / "photos"
