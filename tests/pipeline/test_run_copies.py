"""A run copied to a bucket and back: whole or not at all, each file once, and none outside its folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg.core.bucket_urls import parse_bucket_url
from autodistill_rfdetr_seg.core.errors import DataError, OutputExistsError
from autodistill_rfdetr_seg.pipeline import run_pull, run_push
from autodistill_rfdetr_seg.pipeline.run_manifest import MANIFEST, UNFINISHED
from autodistill_rfdetr_seg.pipeline.run_pull import pull_run
from autodistill_rfdetr_seg.pipeline.run_push import push_run
from autodistill_rfdetr_seg.system.locks import locked
from autodistill_rfdetr_seg.system.object_store import ObjectStore
from helpers.bucket_server import BucketServer, Proxy
from helpers.commands import here
from helpers.lamps import arguments

PLACE = f"s3://{BucketServer.bucket}/runs/one"


def contents(run: Path) -> dict[str, bytes]:
    """The files of a run that are not hidden."""
    files = (path for path in run.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder that looks like a run, with files of several sizes, one of them empty."""
    root = tmp_path / "runs" / "one"
    for number in range(12):
        path = root / "dataset" / "train" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * number * 1000)
    (root / "labels").mkdir()
    (root / "labels" / "labels.json").write_text("{}")
    (root / "labels" / ".lock").write_text("")
    (root / "mirror").mkdir()
    (root / "mirror" / "big.png").write_bytes(b"x" * 5000)
    (root / "human").mkdir()
    (root / "human" / "part-1.parquet").write_bytes(b"work")
    (root / "pipeline.yaml").write_text("images: /photos\nontology: {red: lamp}\n")
    return root


def copied(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(root).items() if not name.startswith("mirror/")}


def test_there_and_back(run: Path, bucket: BucketServer, tmp_path: Path) -> None:
    (run / "link.txt").symlink_to(tmp_path)
    code, out, err = here(["push-run", str(run), PLACE, "--json", "-q"])
    assert code == 0, err
    expected = copied(run)
    done = json.loads(out)
    assert (done["files"], done["copied"], done["skipped"]) == (len(expected), len(expected), ["link.txt"])
    assert done["bytes"] == sum(map(len, expected.values()))
    assert {name: bucket.get(f"runs/one/{name}") for name in expected} == expected
    assert bucket.get("runs/one/mirror/big.png") is None and bucket.get("runs/one/labels/.lock") is None
    back = tmp_path / "other" / "back"
    code, out, err = here(["pull-run", PLACE, str(back), "-q"])
    assert code == 0, err
    assert contents(back) == expected
    assert [path.name for path in back.parent.iterdir()] == ["back"]
    for name in expected:
        assert (back / name).stat().st_mtime_ns == (run / name).stat().st_mtime_ns


def test_a_real_run_is_built_where_it_was_pulled(photos: Path, bucket: BucketServer, tmp_path: Path) -> None:
    bucket.put_folder(photos, "shots")
    source = f"s3://{bucket.bucket}/shots"
    command = arguments(photos, tmp_path / "run")
    assert here([command[0], source, *command[2:]])[0] == 0
    push_run(tmp_path / "run", PLACE, progress=False)
    pulled = tmp_path / "pulled"
    pull_run(PLACE, pulled, progress=False)
    (tmp_path / "run").rename(tmp_path / "gone")
    assert not (pulled / "mirror").exists()
    code, _, err = here(["build", str(pulled), "--min-area", "2", "-q"])
    assert code == 0, err
    index = json.loads((pulled / "dataset" / "dataset.json").read_text())
    assert len(index["images"]) == 24
    command = arguments(photos, pulled, "--min-area", "2", "--resume")
    code, _, err = here([command[0], source, *(word for word in command[2:] if word != "-q")])
    assert code == 0 and "0 images labeled, 24 already had labels" in err


def test_unchanged_files_are_copied_once(run: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    push_run(run, PLACE, progress=False)
    proxy.requests.clear()
    again = push_run(run, PLACE, progress=False)
    assert (again.copied, again.removed) == (0, 0)
    assert not [method for method, _ in proxy.requests if method in ("PUT", "POST")]
    (run / "report.html").write_text("new")
    (run / "dataset" / "train" / "3.png").write_bytes(b"other")
    (run / "dataset" / "train" / "5.png").unlink()
    with pytest.raises(OutputExistsError, match="has another state of a run"):
        push_run(run, PLACE, progress=False)
    changed = push_run(run, PLACE, overwrite=True, progress=False)
    assert (changed.copied, changed.removed) == (2, 1)
    assert bucket.get("runs/one/dataset/train/5.png") is None
    back = tmp_path / "back"
    pull_run(PLACE, back, progress=False)
    assert contents(back) == copied(run)
    (run / "report.html").write_text("newer")
    push_run(run, PLACE, overwrite=True, progress=False)
    (back / "mirror").mkdir()
    (back / "mirror" / "a.png").write_text("mirrored")
    with pytest.raises(OutputExistsError, match="is not empty"):
        pull_run(PLACE, back, progress=False)
    assert pull_run(PLACE, back, overwrite=True, progress=False).copied == 1
    assert copied(back) == copied(run) and (back / "mirror" / "a.png").read_text() == "mirrored"


class Interrupted(ObjectStore):
    """A store that stops at a file, as Ctrl-C does."""

    at = "dataset/train/7.png"

    def write(self, name: str, file: Any) -> tuple[int, str]:
        if name == self.at:
            raise KeyboardInterrupt
        return super().write(name, file)

    def read(self, name: str, write: Any) -> Any:
        if name == self.at:
            raise KeyboardInterrupt
        return super().read(name, write)


def test_an_interrupted_push(run: Path, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    push_run(run, PLACE, progress=False)
    for number in range(3, 12):
        (run / "dataset" / "train" / f"{number}.png").write_bytes(b"new" * number)
    with monkeypatch.context() as patch:
        patch.setattr(run_push, "ObjectStore", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            push_run(run, PLACE, overwrite=True, progress=False)
    # Half of it is new: that is not a copy of any state.
    assert bucket.get(f"runs/one/{MANIFEST}") is None
    code, _, err = here(["pull-run", PLACE, str(tmp_path / "back"), "-q"])
    assert code == 1
    assert err == (
        f"Error: The run at {PLACE} is not complete: copying it there was interrupted.\nHint: Run `push-run` again.\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
    rest = push_run(run, PLACE, progress=False)
    assert 1 <= rest.copied < 9
    assert bucket.get(f"runs/one/{UNFINISHED}") is None
    pull_run(PLACE, tmp_path / "back", progress=False)
    assert contents(tmp_path / "back") == copied(run)


def test_an_interrupted_pull(
    run: Path, bucket: BucketServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    push_run(run, PLACE, progress=False)
    back = tmp_path / "back"
    with monkeypatch.context() as patch:
        patch.setattr(run_pull, "ObjectStore", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            pull_run(PLACE, back, progress=False)
    assert not back.exists()
    done = pull_run(PLACE, back, progress=False)
    assert 1 <= done.copied < done.files
    assert contents(back) == copied(run)
    assert not list(tmp_path.glob(".back*"))


def test_a_damaged_and_a_missing_file(run: Path, bucket: BucketServer, tmp_path: Path) -> None:
    push_run(run, PLACE, progress=False)
    name = "runs/one/dataset/train/4.png"
    content = bucket.get(name)
    assert content is not None
    bucket.put(name, content[:-1] + b"!")
    code, _, err = here(["pull-run", PLACE, str(tmp_path / "back"), "-q"])
    assert code == 1 and "dataset/train/4.png is damaged: its SHA-256 is not that of the manifest." in err
    bucket.delete(name)
    code, _, err = here(["pull-run", PLACE, str(tmp_path / "back"), "-q"])
    assert code == 1 and "dataset/train/4.png is missing from the copy." in err
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    "path",
    ["../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil", ".bashrc", "a/.git/config", "a//b", "", 3, "nul\0"],
)
def test_a_manifest_that_would_leave_the_folder(path: Any, bucket: BucketServer, tmp_path: Path) -> None:
    rows = [row("pipeline.yaml", b"images: a"), {**row("x", b"evil"), "path": path}]
    bucket.put(f"runs/one/{MANIFEST}", json.dumps({"format": 1, "files": rows}).encode())
    bucket.put("runs/one/pipeline.yaml", b"images: a")
    bucket.put("runs/evil", b"evil")
    code, out, err = here(["pull-run", PLACE, str(tmp_path / "home" / "back"), "-q"])
    assert (code, out) == (1, "") and "names that" in err and len(err.splitlines()) == 2
    assert not list(tmp_path.iterdir())


def row(path: str, content: bytes) -> dict[str, Any]:
    return {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "mtime_ns": 10**18}


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b'{"format": 2, "files": []}',
        b'{"format": 1, "files": [{"path": "a"}]}',
        json.dumps({"format": 1, "files": [row("a", b""), row("a", b"")]}).encode(),
        json.dumps({"format": 1, "files": [row("a", b""), row("a/b", b"")]}).encode(),
        json.dumps({"format": 1, "files": [{**row("a", b""), "bytes": -1}]}).encode(),
        json.dumps({"format": 1, "files": [{**row("a", b""), "sha256": "../a"}]}).encode(),
    ],
)
def test_a_wrong_manifest(text: bytes, bucket: BucketServer, tmp_path: Path) -> None:
    bucket.put(f"runs/one/{MANIFEST}", text)
    with pytest.raises(DataError):
        pull_run(PLACE, tmp_path / "back", progress=False)
    assert not list(tmp_path.iterdir())


def test_what_is_not_replaced(run: Path, bucket: BucketServer, tmp_path: Path) -> None:
    bucket.put("photos/a.png")
    with pytest.raises(OutputExistsError, match=r"other content than a run: 1 object, such as a\.png"):
        push_run(run, f"s3://{bucket.bucket}/photos", overwrite=True, progress=False)
    push_run(run, PLACE, progress=False)
    other = tmp_path / "mine"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is not a run's folder"):
        pull_run(PLACE, other, overwrite=True, progress=False)
    shutil.copytree(run, tmp_path / "back")
    (tmp_path / "back" / "human" / "part-2.parquet").write_bytes(b"more work")
    with pytest.raises(OutputExistsError, match=r"part-2.parquet is a person's work"):
        pull_run(PLACE, tmp_path / "back", overwrite=True, progress=False)
    assert (tmp_path / "back" / "human" / "part-2.parquet").read_bytes() == b"more work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "mine", "runs"]


def test_sentences(run: Path, bucket: BucketServer, tmp_path: Path) -> None:
    for command, expected, words in (
        (["push-run", str(tmp_path), PLACE], 3, "is not a run's folder"),
        (["push-run", str(run), "/tmp/place"], 2, "is not the URL of a bucket"),
        (["push-run", str(run), "s3://nobodys/place"], 3, "There is no bucket 'nobodys'"),
        (["push-run", "s3://a-bucket/run", PLACE], 2, "cannot be in a bucket"),
        (["pull-run", PLACE, str(tmp_path / "back")], 3, f"There is no run at {PLACE}"),
        (["pull-run", PLACE, "s3://a-bucket/run"], 2, "cannot be in a bucket"),
        (["pull-run", "photos", str(tmp_path / "back")], 2, "is not the URL of a bucket"),
    ):
        code, out, err = here([*command, "-q"])
        assert (code, out) == (expected, ""), err
        assert words in err and len(err.splitlines()) == 2
    with locked(run / "labels"):
        code, _, err = here(["push-run", str(run), PLACE, "-q"])
    assert code == 1 and "Another process is writing to" in err
    assert ObjectStore(parse_bucket_url(PLACE)).objects() == []
