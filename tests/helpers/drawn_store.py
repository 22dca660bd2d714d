"""A run with many labeled images whose rows are written directly: no base runs, and images are links to few files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import BaseConfig, parse
from autodistill_rfdetr_seg.core.types import Classes, ImageRecord, Instance
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.labels.label_account import write_account
from autodistill_rfdetr_seg.labels.label_store import LabelStore
from autodistill_rfdetr_seg.labels.stored_labels import HUMAN, Provenance, StoredLabels
from autodistill_rfdetr_seg.system.config_files import save_run_config
from autodistill_rfdetr_seg.system.run_folder import RunFolder

HEIGHT, WIDTH = 24, 32
ONTOLOGY = {"red": "disc", "lime": "square"}


def make_run(home: Path, count: int) -> RunFolder:
    """A run of `count` images with up to 3 instances each, not built yet.

    Every 20th image is written anew into a dataset, every 50th is a copy of the one before it, and a person has worked
    on the one at 7.
    """
    run, images = RunFolder(home / "run"), home / "photos"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    original = home / "original.png"
    Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(original)
    stat = original.stat()
    source = BaseSource.from_config(BaseConfig(name="threshold"), Classes.from_ontology(ONTOLOGY))
    names = [f"{at % 7}/{at:05d}.png" for at in range(count)]
    rows = []
    for at, name in enumerate(names):
        (images / name).parent.mkdir(exist_ok=True)
        os.link(original, images / name)
        sha256 = hashlib.sha256(names[at - (at % 50 == 49)].encode()).hexdigest()
        record = ImageRecord(hashlib.sha256(name.encode()).hexdigest()[:16], name, HEIGHT, WIDTH, sha256)
        instances = []
        for _ in range(int(rng.integers(4))):
            top, left = int(rng.integers(HEIGHT - 6)), int(rng.integers(WIDTH - 6))
            mask = np.zeros((HEIGHT, WIDTH), bool)
            mask[top : top + int(rng.integers(2, 7)), left : left + int(rng.integers(2, 7))] = True
            score, stability = rng.random(2).tolist()
            instances.append(Instance(int(rng.integers(2)), masks.encode(mask), score, None, None, "base", stability))
        suffix = None if at % 20 == 0 else ".png"
        rows.append(StoredLabels(record, tuple(instances), suffix, stat.st_size, stat.st_mtime_ns, 0.1, phash=at * 977))
    with LabelStore(run.labels) as store:
        for row in rows:
            store.append(row, source.provenance)
    whole = masks.encode(np.ones((HEIGHT, WIDTH), bool))
    with LabelStore(run.human) as store:
        drawn = replace(rows[7], instances=(Instance(0, whole, 1.0, source=HUMAN),), names=("square", "disc"))
        store.append(drawn, Provenance(HUMAN, {}, ("square", "disc")))
    write_account(run.labels, source, names, images, {})
    save_run_config(run, parse({"images": str(images), "ontology": ONTOLOGY, "base": {"name": "threshold"}}))
    return run
