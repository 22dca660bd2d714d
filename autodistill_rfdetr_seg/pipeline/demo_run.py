"""The demo: its configuration, and the whole pipeline on drawn scenes."""

from __future__ import annotations

from pathlib import Path

from ..core.config import PipelineConfig, parse
from ..system.files import check_output
from ..system.locks import locked
from ..system.run_folder import RunFolder
from .demo_scenes import ONTOLOGY, write_scenes
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
        return run_pipeline(demo_config(scenes), run, resume=True, overwrite=overwrite, progress=progress)


def demo_config(folder: Path) -> PipelineConfig:
    """The configuration of the demo for the scenes in `folder`.

    The target is a small RF-DETR Seg Nano that a CPU can train from scratch in minutes. The published model starts from
    pretrained weights and needs no `model` options and few `train` options.
    """
    return parse(
        {
            "images": str((folder / "images").resolve()),
            "ontology": ONTOLOGY,
            "base": {"name": "threshold", "args": {"split": 0.7}},
            "split": {"train": 0.79, "valid": 0.05, "test": 0.16},
            "target": {
                "size": "nano",
                "epochs": 22,
                "batch_size": 2,
                "grad_accum_steps": 1,
                "lr": 6e-4,
                "seed": 0,
                "model": {
                    "pretrain_weights": None,
                    "resolution": 144,
                    "patch_size": 12,
                    "out_feature_indexes": [1],
                    "projector_scale": ["P3"],
                    "hidden_dim": 128,
                    "dec_layers": 2,
                    "group_detr": 6,
                    "num_queries": 20,
                    "num_select": 20,
                },
                "train": {
                    "lr_encoder": 6e-4,
                    "lr_vit_layer_decay": 1.0,
                    "lr_component_decay": 1.0,
                    "lr_scheduler": "cosine",
                    "warmup_epochs": 1,
                    "clip_max_norm": 1.0,
                    "cls_loss_coef": 2.0,
                    "mask_point_sample_ratio": 2,
                    "use_ema": False,
                    "multi_scale": False,
                    "expanded_scales": False,
                    "scale_jitter": False,
                    "eval_interval": 5,
                },
            },
            "evaluation": {"gold": [str((folder / "gold").resolve())]},
        },
        "the demo",
    )
