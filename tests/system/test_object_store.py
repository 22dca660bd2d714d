"""Buckets that are not there, refuse, hang or change while they are read: one sentence, a hint, and nothing half."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autodistill_rfdetr_seg.core.bucket_urls import BucketUrl, is_bucket_url, parse_bucket_url
from autodistill_rfdetr_seg.core.errors import MissingInputError, RemoteError, UsageError
from autodistill_rfdetr_seg.images.bucket_mirror import MANIFEST, update_mirror
from autodistill_rfdetr_seg.readers.bucket_source import list_bucket_images, mirror_images
from autodistill_rfdetr_seg.system import object_servers, object_store
from autodistill_rfdetr_seg.system.object_names import colliding_names, name_problem
from autodistill_rfdetr_seg.system.object_store import ObjectStore
from helpers.bucket_server import KEYS, BucketServer, Proxy, refusing_server
from helpers.commands import here

LABEL = ("--base", "threshold", "--class", "red=square", "-q")


@pytest.fixture
def few(bucket: BucketServer) -> BucketServer:
    """Ten objects of 40 kB under the prefix `few`."""
    for number in range(10):
        bucket.put(f"few/{number}.png", bytes([number]) * 40_000)
    return bucket


def files(folder: Path) -> dict[str, bytes]:
    """The images that were read; there is nothing else but the manifest and the lock."""
    found = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in found if name.startswith(".")} <= {MANIFEST, ".lock-turn"}
    return {name: content for name, content in found.items() if not name.startswith(".")}


def listed(prefix: str = "few") -> object_store.ObjectStore:
    return ObjectStore(parse_bucket_url(f"s3://{BucketServer.bucket}/{prefix}"))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://photos", BucketUrl("s3", "photos", "")),
        ("S3://photos/2026/june/", BucketUrl("s3", "photos", "2026/june")),
        ("gs:/photos/a b%20c", BucketUrl("gs", "photos", "a b%20c")),
    ],
)
def test_urls(text: str, url: BucketUrl) -> None:
    assert is_bucket_url(text) and parse_bucket_url(text) == url
    assert parse_bucket_url(str(url)) == url


@pytest.mark.parametrize("text", ["s3://", "s3:///a", "s3://photos/a//b", "s3://photos/../b", "s3://-/a", "http://a/b"])
def test_wrong_urls(text: str) -> None:
    with pytest.raises(UsageError):
        parse_bucket_url(text)
    assert not is_bucket_url("/photos/s3://a") and not is_bucket_url("s3") and not is_bucket_url("c:/photos")


@pytest.mark.parametrize("text", ["s3://AKIA:secretword@photos/a", "s3://secretword@photos"])
def test_no_keys_in_urls(text: str, tmp_path: Path) -> None:
    for command in (
        ["label", text, *LABEL[:-1], "--output", str(tmp_path / "run")],
        ["label", "photos", *LABEL, "--output", text],
        ["push-run", str(tmp_path), text],
        ["pull-run", text, str(tmp_path / "run")],
    ):
        code, out, err = here(command)
        assert code in (2, 3) and "secretword" not in out + err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value", ["http://user:secretword@127.0.0.1:1", "127.0.0.1:1", "ftp://127.0.0.1", "http://a/b"]
)
def test_a_wrong_endpoint(value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", value)
    code, _, err = here(["label", "s3://photos/a", *LABEL, "--output", str(tmp_path / "run")])
    assert code == 2 and "AWS_ENDPOINT_URL_S3" in err and "secretword" not in err
    assert len(err.splitlines()) == 2


def test_names() -> None:
    for bad in ("../a", "/a", "a/../b", "a//b", "./a", "a/", "", "a\\b", "a\0b", "ü" * 101):
        assert name_problem(bad), bad
    for good in ("a", "a b/ü.png", "a:b", "ü" * 100, "...a"):
        assert name_problem(good) is None, good
    names = ["a", "a/b", "A", "c/d", "C/D", "c/e", "e\u0301", "\u00e9"]
    assert colliding_names(names, ignore_case=False) == {"a/b"}
    assert colliding_names(names, ignore_case=True) == {"a", "a/b", "c/d", "\u00e9"}


def test_a_bucket_that_is_not_there(bucket: BucketServer, tmp_path: Path) -> None:
    code, out, err = here(["label", "s3://nobodys/a", *LABEL, "--output", str(tmp_path / "run")])
    assert (code, out) == (3, "")
    assert err == f"Error: There is no bucket 'nobodys' at {bucket.url}.\nHint: Check its name.\n"
    assert not list(tmp_path.iterdir())


def test_a_prefix_without_images(bucket: BucketServer, tmp_path: Path) -> None:
    bucket.put("texts/a.txt")
    bucket.put("texts/../b.png")
    for prefix, more in (("nothing", ""), ("texts", " (1 with names that have an empty part, `.` or `..`, such as")):
        code, out, err = here(["label", f"s3://{bucket.bucket}/{prefix}", *LABEL, "--output", str(tmp_path / "run")])
        assert (code, out) == (3, "")
        assert f"Error: There is no image under s3://{bucket.bucket}/{prefix}{more}" in err
    assert not list(tmp_path.iterdir())


def test_a_name_that_cannot_be_listed(bucket: BucketServer, tmp_path: Path) -> None:
    bucket.put("few/zero\0byte.png")
    code, out, err = here(["label", f"s3://{bucket.bucket}/few", *LABEL, "--output", str(tmp_path / "run")])
    assert (code, out) == (1, "") and len(err.splitlines()) == 2
    assert f"Error: The list of s3://{bucket.bucket}/few cannot be read: a name in it has a zero byte" in err
    assert not list(tmp_path.iterdir())


def test_one_object_is_one_image(few: BucketServer, tmp_path: Path) -> None:
    images = list_bucket_images(f"s3://{few.bucket}/few/3.png")
    found = mirror_images(images, tmp_path, progress=False)
    assert [name for _, name in found.items] == ["3.png"]
    assert files(tmp_path) == {"3.png": b"\3" * 40_000}


def test_a_bucket_that_refuses(bucket: BucketServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with refusing_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        code, out, err = here(["label", "s3://photos/a", *LABEL, "--output", str(tmp_path / "run")])
    assert (code, out) == (1, "")
    first, hint = err.splitlines()
    assert first == f"Error: {url} refuses access to s3://photos/a."
    assert hint.startswith("Hint: Set AWS_ACCESS_KEY_ID")
    assert not any(secret in err for secret in (KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


@pytest.mark.slow
def test_a_server_that_cannot_be_reached(
    bucket: BucketServer, silent_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert object_servers.REQUEST_SECONDS <= 20 and object_servers.CONNECT_SECONDS <= 10
    monkeypatch.setattr(object_servers, "REQUEST_SECONDS", 1)
    for address in ("http://127.0.0.1:9", f"http://127.0.0.1:{silent_port}"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        started = time.monotonic()
        code, out, err = here(["label", "s3://photos/a", *LABEL, "--output", str(tmp_path / "run")])
        assert time.monotonic() - started < 20
        assert (code, out) == (1, "")
        assert err.startswith(f"Error: {address} cannot be reached for s3://photos/a, or does not answer.\nHint: ")
        assert len(err.splitlines()) == 2
    assert not list(tmp_path.iterdir())


def test_an_object_that_vanishes_before_it_is_read(few: BucketServer, tmp_path: Path) -> None:
    images = list_bucket_images(f"s3://{few.bucket}/few")
    few.delete("few/4.png")
    found = mirror_images(images, tmp_path, progress=False)
    assert len(found.items) == len(files(tmp_path)) == 9
    assert "4.png" not in files(tmp_path)
    assert found.notes == ("1 image: removed from the bucket before they were read, and left out: 4.png.",)
    assert (tmp_path / MANIFEST).read_text().count('"name"') == 9


def test_an_object_that_changes_before_it_is_read(few: BucketServer, tmp_path: Path) -> None:
    images = list_bucket_images(f"s3://{few.bucket}/few")
    few.put("few/4.png", b"longer" * 10_000)
    found = mirror_images(images, tmp_path, progress=False)
    assert found.notes == ("1 image: written again after they were listed, and read as they are now: 4.png.",)
    assert files(tmp_path)["4.png"] == b"longer" * 10_000
    again = mirror_images(list_bucket_images(f"s3://{few.bucket}/few"), tmp_path, progress=False)
    assert again.notes == () and again.items == found.items


def test_an_object_that_changes_while_it_is_read(few: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    """It is opened at one size, and has another one when its bytes are asked for."""
    shorter = b"short" * 100
    proxy.before["GET", "/few/4.png"] = lambda: few.put("few/4.png", shorter)
    found = mirror_images(list_bucket_images(f"s3://{few.bucket}/few"), tmp_path, progress=False)
    assert files(tmp_path)["4.png"] == shorter
    assert "4.png" in found.notes[0]


def test_an_interruption_is_continued(few: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    store = listed()
    objects = store.objects()

    # The seventh stops everything; what was read before stays, and is not read again.
    class Stopped(ObjectStore):
        def read(self, name: str, write: object) -> object_store.ReadObject:  # type: ignore[override]
            if name == "6.png":
                raise KeyboardInterrupt
            return super().read(name, write)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        update_mirror(Stopped(store.url), objects, tmp_path, progress=False)
    assert {f"{number}.png" for number in range(6)} <= files(tmp_path).keys()
    assert "6.png" not in files(tmp_path)
    proxy.requests.clear()
    done = update_mirror(store, objects, tmp_path, progress=False)
    assert "6.png" in done.read and not {f"{number}.png" for number in range(6)} & set(done.read)
    assert len(files(tmp_path)) == 10


def test_a_full_disk(few: BucketServer, tmp_path: Path) -> None:
    few.put("few/7.png", b"x" * 200_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    command = ["label", f"s3://{few.bucket}/few", *LABEL, "--output", str(tmp_path / "run")]
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        code, out, err = here(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, out) == (1, "")
    first, hint = err.splitlines()
    assert first.startswith("Error: File too large") and hint.startswith("Hint: free some disk space")
    assert "7.png" not in files(tmp_path / "run" / "mirror")
    assert all(len(content) == 40_000 for content in files(tmp_path / "run" / "mirror").values())


def test_a_server_that_fails_halfway(few: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    images = list_bucket_images(f"s3://{few.bucket}/few")
    proxy.before["GET", "/few/8.png"] = lambda: setattr(proxy, "broken", True)
    with pytest.raises(RemoteError, match="cannot be reached"):
        mirror_images(images, tmp_path, progress=False)
    assert all(len(content) == 40_000 for content in files(tmp_path).values())
    assert "8.png" not in files(tmp_path)
    proxy.broken = False
    assert len(mirror_images(images, tmp_path, progress=False).items) == len(files(tmp_path)) == 10


def test_another_prefix_starts_over(few: BucketServer, tmp_path: Path) -> None:
    few.put("other/a.png", b"a")
    mirror_images(list_bucket_images(f"s3://{few.bucket}/few"), tmp_path, progress=False)
    mirror_images(list_bucket_images(f"s3://{few.bucket}/other"), tmp_path, progress=False)
    assert files(tmp_path) == {"a.png": b"a"}


def test_a_manifest_that_names_other_files_removes_none(few: BucketServer, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    row = '{"name": "../mine.txt", "size": 4, "mtime_ns": 0, "version": null, "etag": null}\n'
    for bucket in ("s3://another/one", f"s3://{few.bucket}/few"):
        (mirror / MANIFEST).write_text(f'{{"bucket": "{bucket}"}}\n{row}')
        mirror_images(list_bucket_images(f"s3://{few.bucket}/few"), mirror, progress=False)
        assert (tmp_path / "mine.txt").read_text() == "mine"


def test_half_a_file_of_a_killed_process_is_removed(few: BucketServer, tmp_path: Path) -> None:
    half = tmp_path / "north" / f".4.png.{os.getpid()}.partial"
    half.parent.mkdir()
    half.write_bytes(b"half")
    mirror_images(list_bucket_images(f"s3://{few.bucket}/few"), tmp_path, progress=False)
    assert not half.exists() and len(files(tmp_path)) == 10


def test_all_images_vanish(few: BucketServer, tmp_path: Path) -> None:
    images = list_bucket_images(f"s3://{few.bucket}/few")
    few.clear()
    with pytest.raises(MissingInputError, match="were removed while they were read"):
        mirror_images(images, tmp_path, progress=False)


def test_a_server_that_lists_milliseconds(few: BucketServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Such as MinIO: an object that was read is not taken for a changed one, as its time has no milliseconds then."""
    from pyarrow import fs

    opened = ObjectStore._opened

    class Finer:
        def __init__(self, files: fs.FileSystem) -> None:
            self._files = files

        def get_file_info(self, which: str | fs.FileSelector) -> object:
            found = self._files.get_file_info(which)
            if isinstance(which, str):
                return found
            return [fs.FileInfo(o.path, o.type, size=o.size, mtime_ns=(o.mtime_ns or 0) + 123_000_000) for o in found]

        def __getattr__(self, name: str) -> object:
            return getattr(self._files, name)

    monkeypatch.setattr(ObjectStore, "_opened", lambda store: Finer(opened(store)))
    assert mirror_images(list_bucket_images(f"s3://{few.bucket}/few"), tmp_path, progress=False).notes == ()
    store = listed()
    assert update_mirror(store, store.objects(), tmp_path, progress=False).read == ()
