"""Images in a bucket: labeled as the same files in a folder are, read once, and never outside the run's mirror."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import autodistill_rfdetr_seg
from autodistill_rfdetr_seg.images.bucket_mirror import MANIFEST
from autodistill_rfdetr_seg.readers import bucket_source
from autodistill_rfdetr_seg.system.run_folder import RunFolder
from helpers.bucket_server import BucketServer, Proxy
from helpers.commands import begin, here
from helpers.lamps import annotations, arguments, scene


def label(photos: Path, run: Path, source: str, *more: str) -> tuple[int, str, str]:
    """`label` with the base beside `photos`, of the images `source`."""
    command = [word for word in arguments(photos, run, *more) if word != "-q"]
    return here([command[0], source, *command[2:]])


def url(bucket: BucketServer, prefix: str = "shots") -> str:
    return f"s3://{bucket.bucket}/{prefix}"


def mirrored(run: Path) -> dict[str, bytes]:
    files = (path for path in (run / "mirror").rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(run / "mirror").as_posix(): path.read_bytes() for path in files}


def manifest(run: Path) -> dict[str, dict[str, object]]:
    first, *rows = map(json.loads, (run / "mirror" / MANIFEST).read_text().splitlines())
    assert list(first) == ["bucket"]
    return {row["name"]: row for row in rows}


@pytest.fixture
def shots(photos: Path, bucket: BucketServer) -> Path:
    """The pictures, some in a folder, under the prefix `shots` of the bucket too."""
    (photos / "north").mkdir()
    for number in range(6):
        (photos / f"{number:02d}.png").rename(photos / "north" / f"{number:02d}.png")
    bucket.put_folder(photos, "shots")
    return photos


def test_the_dataset_is_that_of_the_folder(shots: Path, bucket: BucketServer, tmp_path: Path) -> None:
    assert label(shots, tmp_path / "folder", str(shots))[0] == 0
    code, _, err = label(shots, tmp_path / "bucket", url(bucket))
    assert code == 0, err
    assert annotations(tmp_path / "bucket") == annotations(tmp_path / "folder")
    assert len(mirrored(tmp_path / "bucket")) == 24
    for name, row in manifest(tmp_path / "bucket").items():
        stat = (tmp_path / "bucket" / "mirror" / name).stat()
        assert (row["size"], row["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)
        assert row["etag"]


def test_what_has_not_changed_is_not_read_again(
    shots: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert label(shots, run, url(bucket))[0] == 0
    assert len(proxy.read_keys()) == 24
    before = annotations(run)
    proxy.requests.clear()
    code, _, err = label(shots, run, url(bucket), "--resume")
    assert (code, proxy.read_keys()) == (0, [])
    assert "0 images labeled, 24 already had labels" in err
    assert annotations(run) == before


def test_a_changed_a_new_and_a_removed_object(shots: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert label(shots, run, url(bucket))[0] == 0
    scene(tmp_path / "new.png", 40)
    bucket.put("shots/07.png", (tmp_path / "new.png").read_bytes())
    scene(tmp_path / "new.png", 41)
    bucket.put("shots/south/30.png", (tmp_path / "new.png").read_bytes())
    bucket.delete("shots/north/00.png")
    proxy.requests.clear()
    code, _, err = label(shots, run, url(bucket), "--resume")
    assert code == 0, err
    assert sorted(path.partition("shots/")[2] for path in proxy.read_keys()) == ["07.png", "south/30.png"]
    assert "2 images labeled, 22 already had labels" in err
    assert "1 image: no longer in the bucket, and left out: north/00.png." in err
    assert "north/00.png" not in mirrored(run)
    assert mirrored(run)["07.png"] == bucket.get("shots/07.png")
    index = json.loads((run / "dataset" / "dataset.json").read_text())["images"]
    assert sorted(index) == sorted(mirrored(run))


def test_the_same_size_and_another_time(shots: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bucket.put("few/a.bmp", (content := _bitmap(tmp_path, 1)))
    assert label(shots, run, url(bucket, "few"), "--split", "1,0,0")[0] == 0
    other = _bitmap(tmp_path, 2)
    assert len(other) == len(content)
    # S3 counts in whole seconds.
    time.sleep(1.1)
    bucket.put("few/a.bmp", other)
    assert label(shots, run, url(bucket, "few"), "--split", "1,0,0", "--resume")[0] == 0
    assert mirrored(run) == {"a.bmp": other}


def _bitmap(folder: Path, number: int) -> bytes:
    scene(folder / "one.bmp", number)
    return (folder / "one.bmp").read_bytes()


def test_hostile_and_odd_names(shots: Path, bucket: BucketServer, tmp_path: Path) -> None:
    picture = (shots / "07.png").read_bytes()
    odd = ["ü é+%20.png", "a b/c.PNG", "A b/C.png", "photo.png", "Photo.png", "zero.png"]
    for at, name in enumerate(odd):
        scene(tmp_path / "odd.png", 50 + at)
        bucket.put(f"odd/{name}", b"" if name == "zero.png" else (tmp_path / "odd.png").read_bytes())
    refused = [
        *("../evil.png", "x/../../evil.png", "./dot.png", "/absolute.png", "x//double.png", "back\\slash.png"),
        *(f"{'long' * 60}.png", "photo.png/below.png"),
    ]
    for name in [*refused, "text.txt", ".hidden.png", "folder/"]:
        bucket.put(f"odd/{name}", b"" if name == "folder/" else picture)
    home = tmp_path / "home"
    run = home / "run"
    code, _, err = label(shots, run, url(bucket, "odd"), "--split", "1,0,0")
    assert code == 4, err  # the empty file
    assert set(mirrored(run)) == set(odd)
    outside = [*tmp_path.rglob("*evil*"), *tmp_path.rglob("*absolute*")]
    assert not outside
    assert sorted(path.name for path in home.iterdir()) == ["run"]
    assert "5 with names that have an empty part, `.` or `..`, such as" in err
    assert "1 with names that have a backslash or a zero byte, such as 'back\\\\slash.png'" in err
    assert "1 with names that are longer than 200 bytes" in err
    assert "1 with the name of another object as a folder, such as 'photo.png/below.png'" in err


def test_only_the_chosen_images_are_read(shots: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert label(shots, run, url(bucket), "--preview", "3")[0] == 0
    assert len(mirrored(run)) == len(proxy.read_keys()) == 3
    code, _, err = label(shots, run, url(bucket), "--resume", "--limit", "8", "--split", "1,0,0")
    assert code == 0
    assert "8 of 24 images were chosen" in err
    index = json.loads((run / "dataset" / "dataset.json").read_text())["images"]
    assert sorted(index) == sorted(str(path.relative_to(shots)) for path in shots.rglob("*.png"))[:8]


def test_the_mirror_has_a_limit(shots: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, out, err = label(shots, run, url(bucket), "--mirror-limit", "10kB")
    assert (code, out) == (2, "")
    assert "Error: 24 images of s3://camera-photos/shots with " in err and "more than --mirror-limit 10 kB." in err
    assert not run.exists() and not proxy.read_keys()
    assert label(shots, run, url(bucket), "--mirror-limit", "1MB")[0] == 0
    code, _, err = label(shots, tmp_path / "other", str(shots), "--mirror-limit", "1MB")
    assert code == 2 and "--mirror-limit is for the images of a bucket" in err


def test_labels_alone_need_no_more_room_than_the_limit(
    shots: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a slice, or until the labels, images are read part by part and removed again."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    (bad := tmp_path / "bad.png").write_bytes(b"no image")
    bucket.put("shots/bad.png", bad.read_bytes())
    assert label(shots, whole, url(bucket))[0] == 4
    sizes = [len(content) for content in mirrored(whole).values()]
    limit = 3 * max(sizes)
    held: list[int] = []
    real = bucket_source.update_mirror

    def watched(*args: Any, **kwargs: Any) -> Any:
        done = real(*args, **kwargs)
        held.append(sum(map(len, mirrored(run).values())))
        return done

    monkeypatch.setattr(bucket_source, "update_mirror", watched)
    proxy.requests.clear()
    for place in ("1/2", "2/2"):
        code, out, err = label(shots, run, url(bucket), "--mirror-limit", str(limit), "--slice", place)
        assert f"slice {place.replace('/', ' of ')} is labeled" in out, err
        assert code == (4 if "bad.png" in err else 0)
    assert len(held) > 4 and max(held) <= limit and not mirrored(run)
    # Each was read once, and is not read again.
    assert len(proxy.read_keys()) == 25 == len(set(proxy.read_keys()))
    proxy.requests.clear()
    label(shots, run, url(bucket), "--mirror-limit", str(limit), "--slice", "1/2", "--resume")
    assert {path.rpartition("/")[2] for path in proxy.read_keys()} <= {"bad.png"}
    # `build` reads what it needs.
    code, out, err = here(["build", str(run)])
    assert code == 4 and "bad.png" in out + err
    assert annotations(run) == annotations(whole)
    code, _, err = label(shots, tmp_path / "none", url(bucket), "--mirror-limit", "10", "--slice", "1/2")
    assert code == 2 and "more than --mirror-limit 10 B." in err and not (tmp_path / "none").exists()


def test_labeling_in_parts_says_what_the_bucket_lost_and_asks_once_for_copies(
    shots: Path, bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image is removed while an earlier part is read, one is a copy in a later part, two differ in letter case."""
    run = tmp_path / "run"
    bucket.put("shots/zz copy.png", bucket.get("shots/north/00.png"))
    bucket.put("shots/NORTH/01.png", bucket.get("shots/north/01.png"))
    monkeypatch.setattr(bucket_source, "ignores_case", lambda _: True)
    real = bucket_source.update_mirror
    parts: list[set[str]] = []

    def watched(store: Any, wanted: Any, folder: Path, **kwargs: Any) -> Any:
        done = real(store, wanted, folder, **kwargs)
        parts.append({one.name for one in wanted})
        bucket.delete("shots/north/05.png")
        return done

    monkeypatch.setattr(bucket_source, "update_mirror", watched)
    limit = str(3 * max(path.stat().st_size for path in shots.rglob("*.png")))
    code, _, err = label(shots, run, url(bucket), "--mirror-limit", limit, "--slice", "1/1")
    assert code == 0, err
    assert len(parts) > 3 and not any({"north/00.png", "zz copy.png"} <= part for part in parts)
    # 24 images and a copy, less the one that is gone, and those of them whose letter case differs.
    assert "23 images labeled, 1 already had labels" in err
    assert "1 image: removed from the bucket before they were read, and left out: north/05.png." in err
    assert "1 with names that this file system takes for another's, such as 'north/01.png'" in err
    account = json.loads((run / "labels" / "labels.json").read_text())["images"]
    assert len(account) == 24 and "north/05.png" not in account and "north/01.png" not in account


def test_a_build_reads_what_the_mirror_lacks(shots: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert label(shots, run, url(bucket))[0] == 0
    before = annotations(run)
    shutil.rmtree(run / "mirror")
    shutil.rmtree(run / "dataset")
    proxy.requests.clear()
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    run.rename(moved)
    code, _, err = here(["build", str(moved)])
    assert code == 0, err
    assert annotations(moved) == before and len(proxy.read_keys()) == 24
    proxy.requests.clear()
    assert here(["build", str(moved), "--min-area", "3"])[0] == 0
    assert not proxy.requests


def test_python_and_yaml_take_the_url(shots: Path, bucket: BucketServer, tmp_path: Path) -> None:
    base = f"{shots.parent / 'base.py'}:Bright"
    where = url(bucket)
    made = autodistill_rfdetr_seg.label(base, where, tmp_path / "api", {"bright": "lamp"}, progress=False)
    assert sum(count["images"] for count in made.counts.values()) == 24
    again = autodistill_rfdetr_seg.label(base, Path(where), tmp_path / "path", {"bright": "lamp"}, progress=False)
    assert annotations(tmp_path / "path") == annotations(tmp_path / "api")
    assert again.counts == made.counts
    saved = RunFolder(tmp_path / "api").config_file
    assert f"images: {where}\n" in saved.read_text()
    code, _, err = here(["build", str(tmp_path / "api"), "--min-area", "2"])
    assert code == 0, err
    assert f"images: {where}\n" in saved.read_text()


@pytest.mark.parametrize("name", ["s3://camera-photos/runs/one", "gs://camera-photos/runs/one"])
def test_a_run_is_not_in_a_bucket(name: str, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [
        ["label", str(shots), "--base", "threshold", "--class", "red=lamp", "--output", name],
        ["plan", str(shots), "--base", "threshold", "--class", "red=lamp", "--output", name],
        ["demo", "--output", name],
        ["build", name],
        ["report", str(tmp_path), "--output", f"{name}/report.html"],
        ["export", str(tmp_path), "--output", name],
        ["predict", str(tmp_path), str(shots), "--output", name],
        ["repair", str(tmp_path), "--output", name],
    ]
    for command in commands:
        code, out, err = here(command)
        assert (code, out) == (2, ""), command
        assert f"Error: The folder {name}" in err and "cannot be in a bucket: it needs file locks" in err
    (tmp_path / "pipeline.yaml").write_text(
        f"images: {shots}\nontology: {{red: lamp}}\nbase: {{name: threshold}}\noutput: {name}\n"
    )
    code, _, err = here(["run", "pipeline.yaml"])
    assert code == 2 and "cannot be in a bucket" in err
    with pytest.raises(autodistill_rfdetr_seg.AutodistillSegError, match="cannot be in a bucket"):
        autodistill_rfdetr_seg.label("threshold", shots, Path(name), {"red": "lamp"})
    assert not list(tmp_path.glob("[sg][3s]:*"))


def test_gold_is_not_in_a_bucket(shots: Path, bucket: BucketServer, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert label(shots, run, url(bucket))[0] == 0
    code, _, err = here(["evaluate", str(run), "--gold", url(bucket, "gold.json")])
    assert code == 2
    assert "the gold set s3://camera-photos/gold.json is in a bucket, where it is not read: download it" in err


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_stopped(
    how: signal.Signals, shots: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    proxy.pause = 0.3
    command = arguments(shots, run)
    process = begin([command[0], url(bucket), *command[2:]])
    try:
        until = time.monotonic() + 60
        while not (run / "mirror").is_dir() or len(mirrored(run)) < 3:
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(how)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    if how == signal.SIGINT:
        assert err == "Interrupted; finished work is kept, continue with --resume.\n"
        assert not list(run.rglob("*.partial"))
    before = set(mirrored(run))
    assert 3 <= len(before) < 24
    proxy.pause = 0.0
    proxy.requests.clear()
    code, _, err = label(shots, run, url(bucket), "--resume", "--workers", "2")
    assert code == 0, err
    # Killed, the process may have renamed a file and not noted it: eight are read at a time.
    again = {path.partition("/shots/")[2] for path in proxy.read_keys()} & before
    assert len(again) <= (0 if how == signal.SIGINT else 8)
    assert not list(run.rglob("*.partial"))
    assert label(shots, tmp_path / "folder", str(shots))[0] == 0
    assert annotations(run) == annotations(tmp_path / "folder")


@pytest.mark.slow
def test_ctrl_c_ends_a_long_listing(shots: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    for number in range(3001):
        bucket.put(f"large/{number:04d}.png")
    proxy.pause = 1.5
    command = [word for word in arguments(shots, tmp_path / "run") if word != "-q"]
    process = begin([command[0], url(bucket, "large"), *command[2:]])

    def pages() -> int:
        return sum(path.rstrip("/") == f"/{bucket.bucket}" for _, path in proxy.requests)

    try:
        until = time.monotonic() + 60
        while pages() < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.8)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Listing s3://camera-photos/large: 00:02" in err and "Interrupted" in err
    # The page that it waits for is the last one.
    assert pages() < 4 and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_slices_read_the_bucket_once(shots: Path, bucket: BucketServer, proxy: Proxy, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = arguments(shots, run)
    jobs = [begin([command[0], url(bucket), *command[2:], "--slice", f"{number}/2"]) for number in (1, 2)]
    for job in jobs:
        _, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
    assert len(proxy.read_keys()) == 24
    assert here(["build", str(run), "-q"])[0] == 0
    assert label(shots, tmp_path / "folder", str(shots))[0] == 0
    assert annotations(run) == annotations(tmp_path / "folder")
