"""Reads a `data.yaml`: the classes and the paths of each split, as text; nothing is looked up on disk.

The forms are those of ultralytics' documentation (https://docs.ultralytics.com/datasets/segment/). YAML 1.1 reads some
words as something else (`yes`, `0123`, `null`), so the document's own text is looked at beside its type.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import yaml

from ...coco.problems import OnProblem, ProblemReporter, shown
from ...core.errors import DataError, MissingInputError
from ...system.files import read_user_text
from . import yolo_problem_kinds as kinds

_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_SUFFIXES = (".yaml", ".yml")
_SPLITS = {"train": ("train",), "valid": ("val", "valid"), "test": ("test",)}
_MOST_BYTES = 2**23
_FORM = "Write `names: [ant, bee]`, or each under its number: `names: {0: ant, 1: bee}`."
_TEXT_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:value")
_NULL = "tag:yaml.org,2002:null"
_WORDS = {"bool": "true or false", "null": "nothing", "timestamp": "a date", "int": "a number", "float": "a number"}


@dataclass(frozen=True, slots=True)
class DataYaml:
    """The content of a `data.yaml`.

    `names` are the classes by number, ascending; `path` the dataset's root as stated; `splits` what is declared of
    "train", "valid" and "test", each a list of paths as stated. `pose` is (keypoints, numbers of each) where the rows
    are poses, None where they are not; `task` as stated.
    """

    file: Path
    names: dict[int, str]
    path: str | None
    splits: dict[str, tuple[str, ...]]
    pose: tuple[int, int] | None
    task: str | None

    @property
    def root(self) -> Path:
        """The folder of the file: everything that is read is below it."""
        return self.file.parent


def find_data_yaml(source: Path) -> Path | None:
    """`source` itself if it is a YAML file, or the data.yaml of the folder `source`; None if there is none.

    In a folder that is `data.yaml`, `data.yml`, `dataset.yaml` or `dataset.yml`, or the only YAML file with `names`.
    """
    if source.is_file():
        return source if source.suffix.lower() in _SUFFIXES else None
    if not source.is_dir():
        return None
    for name in _NAMES:
        if (source / name).is_file():
            return source / name
    try:
        others = [path for path in source.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file()]
    except OSError:
        return None
    found = [path for path in others if not path.name.startswith(".") and _has_names(path)]
    return found[0] if len(found) == 1 else None


def read_data_yaml(file: Path, on_problem: OnProblem) -> DataYaml:
    """The content of `file`; doubtful entries are reported to `on_problem`.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is not YAML, or its classes or splits are unclear.
    """
    if not file.is_file():
        raise MissingInputError(f"There is no file {file}.")
    fields = _fields(file)
    names = _class_names(file, fields)
    _check_names(file, names, fields.get("nc"), on_problem)
    path = fields.get("path")
    if path is not None and not isinstance(path, yaml.ScalarNode):
        raise DataError(f"{file}: `path` must be one path.", "Write `path: .` for the file's own folder.")
    splits = {split: texts for split, keys in _SPLITS.items() if (texts := _declared(file, fields, keys))}
    task = fields.get("task")
    return DataYaml(
        file,
        names,
        None if path is None or path.tag == _NULL or not path.value.strip() else path.value.strip(),
        splits,
        _pose(file, fields),
        task.value if isinstance(task, yaml.ScalarNode) else None,
    )


def _fields(file: Path) -> dict[str, yaml.Node]:
    """The document's top-level fields, each as YAML's own node: its text and the type that YAML 1.1 gives it."""
    if file.stat().st_size > _MOST_BYTES:
        raise DataError(f"{file} has over {_MOST_BYTES >> 20} MiB, too many for a data.yaml.")
    try:
        root = yaml.compose(read_user_text(file), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{file} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(root, yaml.MappingNode):
        raise DataError(f"{file} is not a data.yaml: it has no fields such as `names`.", _FORM)
    found: dict[str, yaml.Node] = {}
    for key, value in root.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in found:
            raise DataError(f"{file}, line {_line(key)}: `{key.value}` is given twice.", "Keep the right one.")
        found[key.value] = value
    return found


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _has_names(file: Path) -> bool:
    try:
        return "names" in _fields(file)
    except (DataError, OSError):
        return False


def _class_names(file: Path, fields: dict[str, yaml.Node]) -> dict[int, str]:
    """The classes by number, ascending, from a list of them or a mapping."""
    node = fields.get("names")
    if node is None:
        said = f"{file} has `nc` and no `names`" if "nc" in fields else f"{file} has no `names` of classes"
        raise DataError(f"{said}.", _FORM)
    if isinstance(node, yaml.ScalarNode):
        raise DataError(f"{file}: `names` is {shown(node.value)}, and not a list of classes.", _FORM)
    found: dict[int, str] = {}
    numbered = node.value if isinstance(node, yaml.MappingNode) else list(enumerate(node.value))
    for key, value in numbered:
        number = key if isinstance(key, int) else _number(file, key)
        if number in found:
            raise DataError(f"{file}, line {_line(value)}: the class number {number} is used twice in `names`.", _FORM)
        found[number] = _name(file, number, value)
    if not found:
        raise DataError(f"{file} has no `names` of classes: the list is empty.", _FORM)
    return dict(sorted(found.items()))


def _number(file: Path, key: yaml.Node) -> int:
    if not isinstance(key, yaml.ScalarNode):
        raise DataError(f"{file}, line {_line(key)}: a class in `names` has no number.", _FORM)
    text = key.value
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and str(int(text)) == text):
        raise DataError(f"{file}: the class {shown(text)} in `names` is not a number of 0 or more.", _FORM)
    return int(text)


def _name(file: Path, number: int, node: yaml.Node) -> str:
    """A class's name: text, or a number as Python writes it, so that every reader reads the same."""
    if not isinstance(node, yaml.ScalarNode):
        raise DataError(f"{file}, line {_line(node)}: the name of class {number} is not text.", _FORM)
    text: str = node.value
    if node.tag not in _TEXT_TAGS and not _is_same_number(text):
        _refuse_name(file, number, node)
    if not text.strip():
        raise DataError(f"{file}, line {_line(node)}: the name of class {number} is empty.", _FORM)
    return text


def _is_same_number(text: str) -> bool:
    """Whether a number is written in its usual form, unlike 0123, 1_000, 1.50 and .5."""
    for kind in (int, float):
        try:
            return str(kind(text)) == text and text not in ("nan", "inf", "-inf")
        except ValueError:
            continue
    return False


def _refuse_name(file: Path, number: int, node: yaml.ScalarNode) -> NoReturn:
    word = node.tag.rsplit(":", 1)[-1]
    try:
        value = yaml.safe_load(node.value)
    except (yaml.YAMLError, ValueError):
        value = None
    what = f"{_WORDS.get(word, word)} ({value})"
    raise DataError(
        f"{file}, line {_line(node)}: YAML reads the name {node.value or '(empty)'} of class {number} as {what}.",
        f"Write '{node.value}' in quotes if the class is called that, or else the name that is meant, in quotes too.",
    )


def _check_names(file: Path, names: dict[int, str], nc: yaml.Node | None, on_problem: OnProblem) -> None:
    first: dict[str, int] = {}
    loose: dict[str, str] = {}
    for number, name in names.items():
        if first.setdefault(name, number) != number:
            raise DataError(f"{file}: classes {first[name]} and {number} are both called {name!r}.", "Rename one.")
        other = loose.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            message = f"classes {other!r} and {name!r} differ only in case or spaces"
            ProblemReporter(on_problem, file).add(kinds.ALIKE, message)
    if nc is not None and (not isinstance(nc, yaml.ScalarNode) or nc.value.strip() != str(len(names))):
        stated = shown(nc.value) if isinstance(nc, yaml.ScalarNode) else "no number"
        message = f"`nc` is {stated}, but `names` has {len(names)} classes"
        ProblemReporter(on_problem, file, line=_line(nc)).add(kinds.NC, message)


def _declared(file: Path, fields: dict[str, yaml.Node], keys: tuple[str, ...]) -> tuple[str, ...]:
    """The declared paths of a split; empty if it is not declared."""
    found = {key: _paths(file, key, fields[key]) for key in keys if key in fields}
    stated = {key: paths for key, paths in found.items() if paths}
    if len(set(stated.values())) > 1:
        listed = " and ".join(f"`{key}: {', '.join(paths)}`" for key, paths in stated.items())
        raise DataError(f"{file} declares one split twice: {listed}.", "Keep the right one.")
    return next(iter(stated.values()), ())


def _paths(file: Path, key: str, node: yaml.Node) -> tuple[str, ...]:
    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(part, yaml.ScalarNode) for part in parts):
        raise DataError(
            f"{file}, line {_line(node)}: `{key}` must be a path or a list of paths.",
            f"Write `{key}: {key}/images`, the path of a list of images (.txt), or a list of these.",
        )
    return tuple(part.value.strip() for part in parts if part.tag != _NULL and part.value.strip())


def _pose(file: Path, fields: dict[str, yaml.Node]) -> tuple[int, int] | None:
    node = fields.get("kpt_shape")
    if node is None or node.tag == _NULL:
        return None
    parts = node.value if isinstance(node, yaml.SequenceNode) else []
    texts = [part.value for part in parts if isinstance(part, yaml.ScalarNode)]
    if len(texts) != 2 or not all(text.isdecimal() for text in texts) or int(texts[1]) not in (2, 3):
        raise DataError(f"{file}, line {_line(node)}: `kpt_shape` must be [number of keypoints, 2 or 3].")
    return int(texts[0]), int(texts[1])
