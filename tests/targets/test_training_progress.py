"""What a training says while it runs: each validation's metrics once, when they are measured."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg.targets.training.trainer import _progress


def test_each_validation_is_logged_once_with_its_own_metrics(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    import torch
    from pytorch_lightning import LightningModule, Trainer

    class Module(LightningModule):
        """Logs what rfdetr logs; mask AP and AP50 are 0.1 and 0.2 times the number of the epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, *_: Any) -> Any:
            loss = self.weight * 0 + self.current_epoch
            self.log("train/loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, *_: Any) -> None:
            self.log("val/segm_mAP_50_95", 0.1 * (self.current_epoch + 1))
            self.log("val/segm_mAP_50", 0.2 * (self.current_epoch + 1))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    caplog.set_level(logging.DEBUG, "autodistill_rfdetr_seg")
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=5,
        check_val_every_n_epoch=2,
        callbacks=[_progress(5, shown=False)],
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = torch.utils.data.DataLoader([0, 1])
    trainer.fit(Module(), data, data)
    said = [(one.levelname, one.message) for one in caplog.records if one.message.startswith("epoch ")]
    assert said == [
        ("DEBUG", "epoch 1/5: loss 0.000"),
        ("INFO", "epoch 2/5: loss 1.000, mask AP 0.200, AP50 0.400"),
        ("DEBUG", "epoch 3/5: loss 2.000"),
        ("INFO", "epoch 4/5: loss 3.000, mask AP 0.400, AP50 0.800"),
        ("DEBUG", "epoch 5/5: loss 4.000"),
    ]
