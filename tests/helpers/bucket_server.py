"""A real S3 server on loopback, and what puts objects into it under any name."""

from __future__ import annotations

import http.client
import http.server
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

# Of the server alone; moto takes any.
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "test-secret-key",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "us-east-1",
}


_SOMEBODY = "AWS4-HMAC-SHA256 Credential=AKIATESTTESTTEST/20260101/us-east-1/s3/aws4_request"


class BucketServer:
    """moto's server with one bucket; `url` is its address."""

    bucket = "camera-photos"

    def __init__(self) -> None:
        server = pytest.importorskip("moto.server")
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self._server = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.stop()

    def clear(self) -> None:
        assert self._ask("POST", "/moto-api/reset") == 200
        assert self._ask("PUT", f"/{self.bucket}") == 200

    def put(self, key: str, content: bytes = b"x") -> None:
        assert self._ask("PUT", f"/{self.bucket}/{quote(key)}", content) == 200

    def put_folder(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def delete(self, key: str) -> None:
        assert self._ask("DELETE", f"/{self.bucket}/{quote(key)}") == 204

    def get(self, key: str) -> bytes | None:
        status, content = self._answer("GET", f"/{self.bucket}/{quote(key)}", b"")
        return content if status == 200 else None

    def _ask(self, method: str, path: str, content: bytes = b"") -> int:
        return self._answer(method, path, content)[0]

    def _answer(self, method: str, path: str, content: bytes) -> tuple[int, bytes]:
        # Not urllib, which would take the dots out of a path.
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, content, {"Authorization": _SOMEBODY})
        answer = connection.getresponse()
        return answer.status, answer.read()


class Proxy:
    """Passes requests on to a server, counts them by method, and does something before one of them.

    `before` maps (method, end of the path) to what is called once, before such a request is passed on. While it is
    `broken`, requests get no answer; each is passed on after `pause` seconds.
    """

    def __init__(self, port: int) -> None:
        self.requests: list[tuple[str, str]] = []
        self.before: dict[tuple[str, str], object] = {}
        self.broken = False
        self.pause = 0.0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                proxy.requests.append((self.command, path))
                for (method, end), action in list(proxy.before.items()):
                    if self.command == method and path.endswith(end):
                        del proxy.before[method, end]
                        action()  # type: ignore[operator]
                if proxy.broken:
                    self.close_connection = True
                    return
                dropped = ("transfer-encoding", "expect")
                headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
                time.sleep(proxy.pause)
                content = b"".join(_body(self))
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request(self.command, self.path, content, headers)
                answer = connection.getresponse()
                body = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def read_keys(self) -> list[str]:
        """The objects that were read, in no order."""
        return [path for method, path in self.requests if method == "GET" and path.count("/") > 1 and path[-1] != "/"]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _body(request: http.server.BaseHTTPRequestHandler) -> Iterator[bytes]:
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        yield request.rfile.read(int(request.headers.get("Content-Length") or 0))
        return
    while size := int(request.rfile.readline().partition(b";")[0], 16):
        yield request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()


@contextmanager
def refusing_server(status: int = 403) -> Iterator[str]:
    """The address of a server that answers everything with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
