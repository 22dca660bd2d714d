"""To Roboflow and back."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...system.config_files import read_run_config
from ...system.run_folder import RunFolder
from .saying import FAILED, INTERRUPTED, OK, SOME_FAILED, say, say_json

_log = logging.getLogger(__name__)


def push(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Uploads a run's dataset to Roboflow."""
    from ...roboflow_api import PushOptions
    from ...roboflow_api import push as push_dataset
    from ...roboflow_api.roboflow_text import pushed_text

    root = Path(args.run)
    options = PushOptions(
        tags=args.tags or (),
        batch=args.batch or root.resolve().name,
        split_from_run=args.split_from_run,
        overwrite=args.overwrite,
        create=args.create,
        license=args.license,
    )
    result = push_dataset(root, args.workspace, args.project, options, dry_run=args.dry_run, progress=not args.quiet)
    if args.json:
        say_json(dataclasses.asdict(result))
    else:
        say(pushed_text(result))
    return SOME_FAILED if result.failures else OK


def cloud_train(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Trains at Roboflow."""
    from ...roboflow_api import Place, follow
    from ...roboflow_api import train as begin
    from ...roboflow_api.roboflow_text import trained_text

    run = RunFolder(Path(args.run))
    place = Place(run.root, args.workspace, args.project)
    size = args.size or read_run_config(run).target.size
    if args.follow:
        training = None
    else:
        training = begin(
            place,
            size,
            epochs=args.epochs,
            version=args.version,
            preprocessing=args.preprocessing,
            augmentation=args.augmentation,
        )
    if not (args.no_wait and training):
        try:
            training = follow(place, training, timeout=args.timeout)
        except KeyboardInterrupt:
            again = f"cloud-train {args.run} --workspace {args.workspace} --project {args.project} --follow"
            _log.warning("The training goes on at Roboflow. To follow it: autodistill-seg %s", again)
            return INTERRUPTED
    assert training is not None
    if args.json:
        say_json(training.as_json())
    else:
        say(trained_text(training))
    return OK if training.finished or args.no_wait else FAILED


def deploy(args: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Uploads a checkpoint to Roboflow."""
    from ...roboflow_api import deploy as deploy_model
    from ...targets import checkpoint_of

    done = deploy_model(
        checkpoint_of(Path(args.model)), args.workspace, args.project, args.version, timeout=args.timeout
    )
    if args.json:
        say_json(done.as_json())
    else:
        say(f"deployed, and it has answered  {done.endpoint}")
        say(f"{done.model_type}, {len(done.classes)} classes, {done.bytes / 1e6:.1f} MB uploaded")
    return OK
