"""What rfdetr says is kept off the caller's streams, and nothing else is: not of other threads, and not for good."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from autodistill_rfdetr_seg.targets import RFDETRSeg, RFDETRSegNano, checkpoint_of
from autodistill_rfdetr_seg.targets.vendor_output import quiet
from helpers.tiny_training import TINY, draw

WORKERS = 4


def at_once(work: list[threading.Thread]) -> None:
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()


@pytest.mark.train
def test_predicting_from_threads_leaves_the_process_as_it_was(
    speaking_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = RFDETRSeg.from_checkpoint(checkpoint_of(speaking_run), device="cpu")
    images = [draw(at)[0] for at in range(WORKERS)]
    alone = [target.predict(image, 0.05) for image in images]
    logger = logging.getLogger("rf-detr")
    before = (sys.stdout, warnings.showwarning, list(warnings.filters), list(logger.handlers), logger.propagate)
    found: dict[tuple[int, int], float] = {}
    ended = threading.Event()

    def predict(at: int) -> None:
        for time in range(8):
            one = target.predict(images[at], 0.05)
            found[at, time] = float(np.abs(one.confidence - alone[at].confidence).max())

    def say() -> None:
        while not ended.wait(0.001):
            print("mine")

    saying = threading.Thread(target=say)
    saying.start()
    at_once([threading.Thread(target=predict, args=(at,)) for at in range(WORKERS)])
    print("mine")
    ended.set()
    saying.join()
    assert (sys.stdout, warnings.showwarning, list(warnings.filters), list(logger.handlers), logger.propagate) == before
    assert len(found) == 8 * WORKERS and max(found.values()) < 1e-5 and all(len(one) for one in alone)
    said = capsys.readouterr()
    # Every line is that thread's, and none is lost: it speaks about each millisecond.
    assert set(said.out.split()) == {"mine"} and said.out.count("mine") > 20
    assert said.err == ""


def test_a_model_is_built_once_for_all_threads(capsys: pytest.CaptureFixture[str]) -> None:
    target = RFDETRSegNano(device="cpu", **TINY)
    image = draw(0)[0]
    models: list[object] = []

    def predict() -> None:
        target.predict(image, 0.0)
        models.append(target.detector)

    stdout = sys.stdout
    at_once([threading.Thread(target=predict) for _ in range(WORKERS)])
    assert len(models) == WORKERS and len(set(map(id, models))) == 1
    assert sys.stdout is stdout
    # Scores over 0 are given to slots that COCO has no name for, of which rfdetr warns.
    assert capsys.readouterr() == ("", "")


def test_quiet_times_that_overlap(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="autodistill_rfdetr_seg")
    stdout, show = sys.stdout, warnings.showwarning
    logger = logging.getLogger("rfdetr")
    handlers = logger.handlers
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with quiet():
            first_in.set()
            assert second_in.wait(10)
            print("of the first")
        first_out.set()

    def second() -> None:
        assert first_in.wait(10)
        with quiet():
            second_in.set()
            assert first_out.wait(10)
            print("of the second")
            warnings.warn("told by the second", UserWarning, stacklevel=1)
            logger.warning("logged by the second")

    def third() -> None:
        assert second_in.wait(10)
        print("mine")

    at_once([threading.Thread(target=work) for work in (first, second, third)])
    assert (sys.stdout, warnings.showwarning, logger.handlers) == (stdout, show, handlers)
    assert capsys.readouterr() == ("mine\n", "")
    for words in ("of the first", "of the second", "told by the second", "logged by the second"):
        assert words in caplog.text
