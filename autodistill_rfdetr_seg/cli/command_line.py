"""`autodistill-seg COMMAND`: the parser, and the only place that turns an error into output and an exit code.

Results go to stdout, logs and progress to stderr. Exit codes: 0 ok, 1 error, 2 usage, 3 missing input, 4 finished
without some images, 5 a gate was not met, 130 interrupted, 143 terminated. What each command does is in `commands`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from .. import __version__
from ..core.config import BenchmarkConfig, InputsConfig
from ..core.errors import AutodistillSegError, UnknownNameError
from .option_flags import (
    BUILD_OPTIONS,
    EVALUATE_OPTIONS,
    INPUT_OPTIONS,
    LABEL_OPTIONS,
    LABELING_OPTIONS,
    TRAIN_OPTIONS,
    Option,
    add_options,
    from_one,
    overrides,
    yaml_value,
)

INTERRUPTED = 130


# A full disk, a used-up quota, and a limit on a file's size.
_NO_ROOM = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG")} - {None}


class _Terminated(KeyboardInterrupt):
    """A signal that asks the process to end; its exit code is what a shell makes of that signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


class _Parser(argparse.ArgumentParser):
    """argparse with our form of message: one sentence, a hint, exit code 2."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument COMMAND: invalid choice"):
            raise UnknownNameError("command", message.split("'")[1], COMMANDS)
        raise _usage(message, self.prog)


def _usage(message: str, prog: str) -> AutodistillSegError:
    from ..core.errors import UsageError

    return UsageError(f"{message[0].upper()}{message[1:]}.", f"See `{prog} --help`.")


COMMANDS: dict[str, str] = {
    "demo": "make images, label them, train a tiny target and evaluate both; no GPU, no download",
    "label": "label a folder with a base and build the dataset",
    "plan": "label a sample and forecast time, memory, disk and yield for all the images",
    "build": "build the dataset again with other thresholds; the base is not run",
    "import": "take a COCO file that people have edited back into a run; their work wins over any later label",
    "train": "train the target on a run's dataset, or on any COCO-seg or YOLO-seg dataset",
    "evaluate": "score base and target against a human gold set, or a file of predictions",
    "predict": "find instances in images or a video with a trained target",
    "export": "write a trained target as ONNX, OpenVINO, TensorRT …, and make sure it finds the same",
    "benchmark": "measure latency and mask AP of a trained target in each format, in one table",
    "run": "run a whole pipeline from a YAML file",
    "report": "write a run's report page again",
    "review": "order a run's labels by what a person should look at first, and show the first ones",
    "explain": "tell where a label came from: prompt, base, scores and every rule it passed",
    "diff": "tell what was gained, lost and changed between the datasets of two runs",
    "validate": "sum up every problem of annotated images: COCO, YOLO-seg or a run",
    "repair": "write annotated images as a clean COCO-seg dataset, and name every change",
    "push": "upload a run's dataset to a Roboflow project: images, masks, splits and tags",
    "cloud-train": "train RF-DETR Seg at Roboflow on what a project holds, and follow it until it ends",
    "deploy": "upload a checkpoint as a Roboflow version's model, and wait until it serves",
    "bases": "list what can label: installed or not, licence, weights and whether they are here",
    "doctor": "tell what this machine can do",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = _Parser(
        prog="autodistill-seg",
        description="Unlabelled images and a few words in; a real-time instance-segmentation model and its proof out.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"autodistill-seg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    made = {
        name: commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        for name, text in COMMANDS.items()
    }
    _demo(made["demo"])
    _label(made["label"])
    made["label"].add_argument(
        "--preview", type=from_one, metavar="N", help="label a seeded N only, and show them on one contact sheet"
    )
    _label(made["plan"])
    made["plan"].add_argument(
        "--count", type=from_one, default=20, metavar="N", help="sampled images (default: %(default)s)"
    )
    made["review"].add_argument("run", metavar="RUN", help="a run's folder")
    made["review"].add_argument(
        "--count", type=int, default=50, metavar="N", help="labels on the contact sheet (default: %(default)s)"
    )
    made["explain"].add_argument("run", metavar="RUN", help="a run's folder")
    made["explain"].add_argument("label", metavar="SPLIT:ID", help="split and annotation id, such as train:12")
    made["diff"].add_argument("run", metavar="RUN_A", help="a run's folder")
    made["diff"].add_argument("other", metavar="RUN_B", help="another, or the same at another time")
    _stage(made["build"], BUILD_OPTIONS)
    _train(made["train"])
    _evaluate(made["evaluate"])
    _predict(made["predict"])
    _push(made["push"])
    _cloud_train(made["cloud-train"])
    _deploy(made["deploy"])
    _export(made["export"])
    _benchmark(made["benchmark"])
    _run(made["run"])
    made["report"].add_argument("run", metavar="RUN", help="a run's folder")
    made["report"].add_argument("--output", metavar="FILE", help="where to write the page (default: RUN/report.html)")
    made["import"].add_argument("run", metavar="RUN", help="a run's folder")
    made["import"].add_argument(
        "coco", metavar="SOURCE", help="what was edited: a COCO file or folder, or a YOLO data.yaml"
    )
    made["import"].add_argument(
        "--all",
        action="store_true",
        help="unchanged images were checked by a person too; every mask as it is in the file",
    )
    source = "a COCO JSON file, a folder that holds one or a split in each folder, a YOLO data.yaml, or a run's folder"
    made["validate"].add_argument("dataset", metavar="SOURCE", help=source)
    made["validate"].add_argument("--all", action="store_true", help="list every problem in a line of its own")
    made["repair"].add_argument("dataset", metavar="SOURCE", help=source)
    made["repair"].add_argument("--output", metavar="CLEAN", required=True, help="the folder to write")
    made["repair"].add_argument(
        "--trust-images",
        action="store_true",
        help="where a stated size is off by a pixel or two, or swapped, take the image's; masks then move",
    )
    made["repair"].add_argument(
        "--crowds",
        choices=("keep", "objects"),
        default="keep",
        help="what becomes of annotations with iscrowd 1: keep, or objects like others (default: %(default)s)",
    )
    made["repair"].add_argument("--overwrite", action="store_true", help="replace what an earlier repair wrote")
    for sub in made.values():
        _common(sub)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress, warnings and errors only")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _claims(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--resume", action="store_true", help="go on in an output folder that is not empty")
    choice.add_argument("--overwrite", action="store_true", help="begin anew in an output folder that is not empty")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="RUN", default="runs/demo", help="the run's folder (default: %(default)s)")
    _claims(parser)


def _label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images",
        metavar="IMAGES",
        help="a folder (searched recursively, never written to), a video, a pattern, a .txt list or a COCO .json",
    )
    parser.add_argument("--output", metavar="RUN", required=True, help="the run's folder")
    parser.add_argument("--ontology", metavar="JSON|@FILE", help="""prompts and classes: '{"a dog": "dog"}'""")
    parser.add_argument(
        "--class",
        dest="classes",
        metavar="PROMPT[=CLASS]",
        action="append",
        help="a prompt and its class, parted by the first =; repeat it",
    )
    add_options(parser, LABEL_OPTIONS + INPUT_OPTIONS + LABELING_OPTIONS + BUILD_OPTIONS)
    _claims(parser)


def _stage(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder")
    add_options(parser, options)


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="RUN|DATASET", help="a run's folder, a dataset folder or a data.yaml")
    parser.add_argument("--output", metavar="FOLDER", help="where the checkpoint goes; only for a dataset")
    parser.add_argument("--dry-run", action="store_true", help="print what preflight says, and stop")
    _claims(parser)
    add_options(parser, TRAIN_OPTIONS)


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN|EXPORT", nargs="?", help="a run's or an export's folder")
    parser.add_argument("--predictions", metavar="FILE", help="COCO results, or a predictions.json, to score on --gold")
    add_options(parser, EVALUATE_OPTIONS)


def _predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="RUN|CHECKPOINT|EXPORT",
        nargs="?",
        help="a run's or export's folder, or a checkpoint; not with --endpoint",
    )
    parser.add_argument("source", metavar="IMAGE|FOLDER|VIDEO", help="an image, a folder of them, or a video")
    parser.add_argument("--output", metavar="FOLDER", help="write predictions.json (COCO) and pictures here")
    parser.add_argument("--track", action="store_true", help="in a video, follow instances from frame to frame")
    parser.add_argument("--allow-url", action="store_true", help="the image may be an http or https address")
    parser.add_argument("--confidence", type=float, default=0.5, help="show instances over this (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (default: %(default)s)")
    most = InputsConfig().max_megapixels
    parser.add_argument(
        "--max-megapixels", type=float, default=most, metavar="X", help="refuse larger images (default: %(default)s)"
    )
    _claims(parser)
    served = parser.add_argument_group("a model that is served (the key: ROBOFLOW_API_KEY in the environment)")
    served.add_argument("--endpoint", metavar="URL", help="Roboflow or an Inference server, https://…/PROJECT/VERSION")
    served.add_argument(
        "--class",
        dest="classes",
        metavar="NAME",
        action="append",
        help="a class of the endpoint, once for each (default: the project's)",
    )
    served.add_argument("--insecure", action="store_true", help="http to another machine; key and images are readable")


def _place(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Roboflow (the key: ROBOFLOW_API_KEY in the environment)")
    group.add_argument("--workspace", metavar="W", required=True, help="as in the URL of the workspace's page")
    group.add_argument("--project", metavar="P", required=True, help="as in the URL of the project's page")


def _push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder")
    parser.add_argument("--tag", dest="tags", metavar="T", action="append", help="a tag of every image; repeat it")
    parser.add_argument("--batch", metavar="NAME", help="the batch that they go to (default: the run's name)")
    parser.add_argument("--split-from-run", action="store_true", help="keep the run's splits (default: all to train)")
    parser.add_argument("--overwrite", action="store_true", help="replace annotations that the project has")
    parser.add_argument("--create", action="store_true", help="make the project where there is none")
    parser.add_argument("--license", default="Private", help="of a project that is made (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be sent; nothing is, no key is needed")
    _place(parser)


def _cloud_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the run's folder, where the training is noted")
    parser.add_argument("--size", help="nano, small … (default: the run's)")
    parser.add_argument("--epochs", type=int, metavar="N", help="(default: Roboflow's)")
    parser.add_argument("--version", type=int, metavar="N", help="a version that is there (default: a new one)")
    parser.add_argument("--preprocessing", type=yaml_value, metavar="JSON", help="of a new version (default: none)")
    parser.add_argument("--augmentation", type=yaml_value, metavar="JSON", help="of a new version (default: none)")
    parser.add_argument("--follow", action="store_true", help="begin nothing, follow the last one")
    parser.add_argument("--no-wait", action="store_true", help="begin it and come back")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds to follow it (default: 12 hours)")
    _place(parser)


def _deploy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="RUN|CHECKPOINT", help="a run's folder or a checkpoint file")
    parser.add_argument("--version", type=int, metavar="N", required=True, help="the version that gets the model")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds until it must serve (default: 1800)")
    _place(parser)


def _export(parser: argparse.ArgumentParser) -> None:
    from ..targets.export.known_formats import known_formats

    parser.add_argument("model", metavar="RUN|CHECKPOINT", help="a run's folder or a checkpoint file")
    parser.add_argument("--format", default="onnx", help=f"{', '.join(known_formats())} (default: %(default)s)")
    parser.add_argument("--output", metavar="FOLDER", help="default: export/FORMAT-PRECISION in the run")
    parser.add_argument(
        "--precision", choices=("fp32", "fp16"), default="fp32", help="fp32 or fp16 (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=1, metavar="N", help="images it takes at once (default: %(default)s)"
    )
    parser.add_argument("--resolution", type=int, metavar="N", help="side of its input (default: the model's own)")
    parser.add_argument("--samples", metavar="FOLDER", help="images to compare on (default: the run's held-out ones)")
    parser.add_argument("--bundle", action="store_true", help="add what runs and checks it without torch; ONNX only")
    parser.add_argument("--check", metavar="EXPORT", help="write nothing; compare an export that is there")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")


def _benchmark(parser: argparse.ArgumentParser) -> None:
    default = BenchmarkConfig()
    parser.add_argument("models", metavar="MODEL", nargs="+", help="a run's folder, a checkpoint or an export")
    parser.add_argument("--images", metavar="FOLDER", help="to measure on (default: the gold set's or the run's)")
    parser.add_argument("--gold", metavar="GOLD", help="annotated images, for mask AP (default: the run's)")
    parser.add_argument(
        "--formats", metavar="LIST", help="of torch,torchscript,inductor,onnx,openvino,tensorrt (default: those here)"
    )
    parser.add_argument("--precision", metavar="LIST", default="fp32", help="of fp32,fp16,bf16 (default: %(default)s)")
    parser.add_argument("--yolo", metavar="FILE", action="append", help="a YOLO -seg weights file to set beside")
    parser.add_argument("--device", default=default.device, help="auto, cpu, cuda, cuda:1 … (default: %(default)s)")
    for flag, key, kind, metavar, text in (
        ("--runs", "runs", int, "N", "calls a row that count"),
        ("--warm-up", "warm_up", int, "N", "calls before, in each round"),
        ("--rounds", "rounds", int, "N", "rounds in which the rows take turns"),
        ("--pause", "pause", float, "SECONDS", "rest between two calls, for a device that gets hot"),
        ("--batch-size", "batch_size", int, "N", "images a call"),
        ("--confidence", "confidence", float, "X", "look for instances over this"),
    ):
        parser.add_argument(
            flag, type=kind, metavar=metavar, default=getattr(default, key), help=f"{text} (default: %(default)s)"
        )
    parser.add_argument("--output", metavar="FOLDER", help="keep benchmark.md, benchmark.json and the exports here")
    parser.add_argument("--overwrite", action="store_true", help="write into an output folder that is not empty")


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="PIPELINE", help="a pipeline's YAML file; ready ones are in pipelines/")
    parser.add_argument("--output", metavar="RUN", help="the run's folder (default: `output` in the file)")
    add_options(parser, ())
    _claims(parser)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    with any_text():
        return _main(sys.argv[1:] if arguments is None else list(arguments))


@contextlib.contextmanager
def any_text() -> Iterator[None]:
    """While a command runs, what the encoding of stdout or stderr lacks is written as `\\u043b`.

    A class or file may be called anything; a terminal or a pipe in cp1252 must not cost a run its result.
    """
    before = [(stream, stream.errors) for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    for stream, _ in before:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in before:
            if not stream.closed:
                stream.reconfigure(errors=errors)


def _main(arguments: Sequence[str]) -> int:
    debug = "--debug" in arguments
    parsed = argparse.Namespace()
    try:
        parsed = build_parser().parse_args(arguments)
        from . import commands

        command: Any = commands.BY_NAME[parsed.command]
        with _logging(parsed), _terminable():
            code: int = command(parsed, overrides(parsed))
        sys.stdout.flush()
        return code
    except AutodistillSegError as error:
        if debug:
            raise
        print(f"Error: {error.message}", file=sys.stderr)  # noqa: T201
        if error.hint:
            print(f"Hint: {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt as interruption:
        kept = "; what was finished is kept, --resume goes on from there" if "resume" in parsed else ""
        print(f"Interrupted{kept}.", file=sys.stderr)  # noqa: T201
        return getattr(interruption, "exit_code", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: no error, and nothing more to say at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug:
            raise
        print(f"Error: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)  # noqa: T201
        if error.errno in _NO_ROOM:
            kept = "; what was finished is kept, and --resume goes on from there" if "resume" in parsed else ""
            print(f"Hint: make room{kept}.", file=sys.stderr)  # noqa: T201
        return 1
    except Exception as error:  # the last resort: still one sentence
        if debug:
            raise
        print(f"Error: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        print("Hint: this was not foreseen; run it again with --debug and report the traceback.", file=sys.stderr)  # noqa: T201
        return 1


@contextlib.contextmanager
def _logging(parsed: argparse.Namespace) -> Iterator[None]:
    """The package's log on stderr while a command runs."""
    level = logging.DEBUG if parsed.debug else logging.WARNING if parsed.quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, and a terminal that is closed, end a command as Ctrl-C does: what is finished is flushed first."""

    def interrupt(number: int, _: object) -> None:
        raise _Terminated(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # Under nohup a hang-up is ignored, and stays so.
    before = {number: signal.getsignal(number) for number in asked}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
