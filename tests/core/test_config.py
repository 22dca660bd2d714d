"""Options: dotted keys over a file, and keys that had another name in an earlier release."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from autodistill_rfdetr_seg.core.config import parse, with_overrides
from autodistill_rfdetr_seg.core.errors import UnknownNameError, UsageError
from autodistill_rfdetr_seg.system.config_files import dump, load

DATA = {"images": "photos", "ontology": {"red": "square"}}


def test_dotted_keys_are_set_in_a_copy() -> None:
    data = {"target": {"epochs": 3, "model": {"resolution": 312}}}
    changed = with_overrides(data, {"target.epochs": 4, "target.model.num_queries": 9, "split.seed": 1})
    assert changed == {
        "target": {"epochs": 4, "model": {"resolution": 312, "num_queries": 9}},
        "split": {"seed": 1},
    }
    assert data == {"target": {"epochs": 3, "model": {"resolution": 312}}}
    with pytest.raises(UsageError, match=r"'images\.x' cannot be set: 'images' is a value, not a group"):
        with_overrides(DATA, {"images.x": 1})


def test_the_slice_of_a_run_of_release_0_1_0_is_read(tmp_path: Path) -> None:
    for name, value in (("share", None), ("share", [2, 4]), ("slice", [2, 4])):
        (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump({**DATA, "labeling": {name: value}}))
        config = load(tmp_path / "pipeline.yaml")
        assert config.labeling.slice == (None if value is None else (2, 4))
        assert yaml.safe_load(dump(config))["labeling"]["slice"] == value
    with pytest.raises(UsageError, match="the slice 5/4 is not one of 1/N to N/N"):
        parse({**DATA, "labeling": {"slice": [5, 4]}})
    with pytest.raises(UnknownNameError, match="did you mean 'slice'"):
        parse({**DATA, "labeling": {"slices": [1, 4]}})
