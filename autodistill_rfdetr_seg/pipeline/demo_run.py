"""The demo: scenes are drawn, and the whole pipeline runs on them."""

from __future__ import annotations

from ..system.files import check_output
from ..system.locks import locked
from ..system.run_folder import RunFolder
from .demo import pipeline, write_scenes
from .runs import RunResult, run_pipeline


def run_demo(run: RunFolder, *, resume: bool, overwrite: bool, progress: bool = True) -> RunResult:
    """Draws the scenes in `run/scenes` and runs the demo's pipeline on them. Raises as `run_pipeline`."""
    scenes = run.root / "scenes"
    check_output(run.root, resume=resume, overwrite=overwrite)
    # No other process may label the scenes while they are drawn.
    with locked(run.labels, lend=True):
        if not resume or not scenes.is_dir():
            write_scenes(scenes)
        # The folder is ours, and not empty any more.
        return run_pipeline(pipeline(scenes), run, resume=True, overwrite=overwrite, progress=progress)
