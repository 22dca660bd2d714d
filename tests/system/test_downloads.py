from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autodistill_rfdetr_seg.core.errors import DataError, UsageError
from autodistill_rfdetr_seg.images.image_opening import open_image
from autodistill_rfdetr_seg.system import downloads as fetching
from autodistill_rfdetr_seg.system.downloads import fetch, is_url, on_disk


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), (200, 30, 40), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        leads = {"/away": "file:///etc/hostname", "/on": "/a%20photo.png?x=1"}
        if self.path in leads:
            self.send_response(302)
            self.send_header("Location", leads[self.path])
            self.end_headers()
        elif "photo" in self.path:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(picture())
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def test_what_is_an_address() -> None:
    assert is_url("https://example.org/a.jpg") and is_url("FILE:///etc/passwd")
    assert not any(is_url(path) for path in ("a.jpg", "C:\\photos\\a.jpg", "./http:/a", "photos//a.jpg"))


@pytest.mark.parametrize("path", ["/a%20photo.png?x=1", "/on"])
def test_an_image_from_the_web(server: str, path: str) -> None:
    with on_disk(server + path, allow_url=True) as file:
        assert open_image(file).pixels[0, 0].tolist() == [200, 30, 40]
        assert "/" not in file.name and " " not in file.name
    assert not file.exists()


def test_nothing_is_fetched_unless_it_is_allowed(server: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a URL"), on_disk(f"{server}/photo.png", allow_url=False):
        pass
    with on_disk(str(tmp_path / "a.png"), allow_url=False) as path:
        assert path == tmp_path / "a.png"


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/a.png", "data://image/png;base64,AAAA"])
def test_other_kinds_of_address(address: str) -> None:
    with pytest.raises(UsageError, match="neither an http nor an https"):
        fetch(address)


def test_what_cannot_be_had(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="404"):
        fetch(f"{server}/nothing")
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch(f"{server}/away")
    monkeypatch.setattr(fetching, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="larger"):
        fetch(f"{server}/photo.png")
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch("http://127.0.0.1:1/photo.png")
