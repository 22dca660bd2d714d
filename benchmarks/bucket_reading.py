"""Measures reading a bucket into a run's mirror against a plain loop over its objects.

    python benchmarks/bucket_reading.py [--images 200] [--size 640x480] [--delay 20]

Images are drawn and put into an S3 server (moto) in a process of its own. Between it and us lies a process that passes
on each request after `--delay` milliseconds, as a server that is not on this machine answers. The loop reads one object
after the other with pyarrow and writes it to a file: no check, no flush to the disk, no resuming. The mirror asks once
more for each object, to know that it did not change meanwhile. It is updated twice: the second time reads nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmark_helpers import make_images

from autodistill_rfdetr_seg.core.bucket_urls import parse_bucket_url
from autodistill_rfdetr_seg.images.bucket_mirror import update_mirror
from autodistill_rfdetr_seg.system.object_store import ObjectStore

BUCKET = "measured"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--delay", type=float, default=20, help="milliseconds")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    folder = Path(tempfile.mkdtemp(prefix="bucket_reading_"))
    ports = [free_port(), free_port()]
    start = multiprocessing.get_context("spawn").Process
    servers = [
        start(target=serve, args=(ports[0],), daemon=True),
        start(target=pass_on, args=(ports[1], ports[0], args.delay / 1000), daemon=True),
    ]
    os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    for server, port in zip(servers, ports, strict=True):
        server.start()
        wait_for(port)
    try:
        make_images(folder / "images", args.images, [(width, height)])
        fill(folder / "images", ports[0])
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{ports[1]}"
        print(f"{args.images} images of {args.size}, {args.delay:g} ms for a request, {os.cpu_count()} cores")
        measure(folder, args.images)
    finally:
        for server in servers:
            server.kill()
        shutil.rmtree(folder)


def measure(folder: Path, count: int) -> None:
    """Reads the bucket in each way, and prints a line for each."""

    def mirror() -> None:
        store = ObjectStore(parse_bucket_url(f"s3://{BUCKET}/photos"))
        update_mirror(store, store.objects(), folder / "mirror", progress=False)

    ways = {"plain loop": lambda: plain_loop(folder / "loop"), "mirror": mirror, "mirror, nothing new": mirror}
    seconds = {name: timed(way) for name, way in ways.items()}
    assert len(list((folder / "mirror").glob("*.jpg"))) == len(list((folder / "loop").glob("*.jpg"))) == count
    print(f"{'':<22}{'seconds':>9}{'images/s':>10}{'speed':>8}")
    for name, found in seconds.items():
        print(f"{name:<22}{found:>9.2f}{count / found:>10.0f}{seconds['plain loop'] / found:>7.1f}x")


def plain_loop(folder: Path) -> None:
    """Reads one object after the other."""
    from pyarrow import fs

    folder.mkdir()
    endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    store = fs.S3FileSystem(endpoint_override=endpoint, scheme="http", region="us-east-1")
    for found in store.get_file_info(fs.FileSelector(f"{BUCKET}/photos", recursive=True)):
        with store.open_input_stream(found.path) as stream:
            (folder / found.base_name).write_bytes(stream.read())


def fill(images: Path, port: int) -> None:
    """Puts the images into the bucket, without delay."""
    from pyarrow import fs

    store = fs.S3FileSystem(
        endpoint_override=f"127.0.0.1:{port}", scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    store.create_dir(BUCKET)
    fs.copy_files(str(images), f"{BUCKET}/photos", source_filesystem=fs.LocalFileSystem(), destination_filesystem=store)


def timed(work: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def serve(port: int) -> None:
    """An S3 server, until the process ends."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False).start()
    while True:
        time.sleep(60)


def pass_on(port: int, to: int, delay: float) -> None:
    """Passes on what comes to a port, requests after `delay` seconds, until the process ends."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        while data := await reader.read(2**18):
            await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(copy(reader, back, delay), copy(there, writer, 0))

    async def run() -> None:
        await (await asyncio.start_server(connected, "127.0.0.1", port)).serve_forever()

    asyncio.run(run())


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def wait_for(port: int) -> None:
    """Returns when somebody listens on a port."""
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main()
