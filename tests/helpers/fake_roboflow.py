"""A server on loopback that speaks the paths of Roboflow's API which the SDK calls, and records what it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "rf_Sekret123"
DROP = -1


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def parts(self) -> dict[str, bytes]:
        """The fields of a multipart body; `file` is the bytes, `filename` its name."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        found: dict[str, bytes] = {}
        for part in BytesParser().parsebytes(head + self.body).get_payload():
            name = part.get_param("name", header="content-disposition")
            found[name] = part.get_payload(decode=True)
            if part.get_filename():
                found["filename"] = part.get_filename().encode()
        return found


@dataclass
class Fake:
    """State that a test sets, and what came in. `failures`: part of a path → statuses for the next calls to it."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    failures: dict[str, list[int]] = field(default_factory=dict)
    projects: dict[str, str] = field(default_factory=lambda: {"washers": "instance-segmentation"})
    classes: tuple[str, ...] = ("washer", "bolt")
    images: dict[bytes, str] = field(default_factory=dict)
    annotated: set[str] = field(default_factory=set)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    trainings: list[str] = field(default_factory=lambda: ["running", "finished"])
    listed_after: int = 0
    predictions: Callable[[Request], Any] = lambda request: {"predictions": []}
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, part: str, method: str = "POST") -> list[Request]:
        return [one for one in self.requests if part in one.path and one.method == method]

    def project(self, name: str) -> dict[str, Any]:
        common = {"annotation": name, "classes": dict.fromkeys(self.classes, 3), "colors": {}, "created": 1.0}
        common |= {"updated": 1.0, "images": 1, "name": name, "public": False, "splits": {}, "unannotated": 0}
        return {**common, "id": f"shop/{name}", "type": self.projects[name]}

    def answer(self, request: Request) -> tuple[int, Any]:
        where = request.path.strip("/").split("/")
        if request.method == "PUT":
            return 200, {}
        secret = request.query.get("api_key", [""])[0]
        if secret != KEY:
            return 401, {"error": {"message": f"This API key does not exist: {secret}", "type": "OAuthException"}}
        if where == [""]:
            return 200, {"workspace": "shop"}
        if where[0] == "dataset":
            return self.upload(request) if where[-1] == "upload" else self.annotate(request, where[-1])
        if where[0] == "served":
            return 200, self.predictions(request)
        if where == ["shop"]:
            return 200, {"workspace": {"name": "Shop", "url": "shop", "projects": [], "members": []}}
        if where == ["shop", "projects"]:
            self.projects[request.json["name"]] = request.json["type"]
            return 200, self.project(request.json["name"])
        if where[1] not in self.projects:
            return 404, {"error": {"message": f"No project {where[1]}"}}
        if len(where) == 2:
            versions = [{**one, "id": f"shop/{where[1]}/{n}"} for n, one in self.versions.items()]
            return 200, {"workspace": {}, "project": self.project(where[1]), "versions": versions}
        if where[2] == "generate":
            number = str(len(self.versions) + 1)
            self.versions[number] = {"generating": True, "progress": 0.5, "images": 0, **request.json}
            return 200, {"message": "Generating", "version": number}
        return self.version(request, where[2], where[3:])

    def version(self, request: Request, number: str, rest: list[str]) -> tuple[int, Any]:
        version = self.versions[number]
        if not rest:
            shown = dict(version)
            version.update(generating=False, images=4)
            if "uploaded" in version:
                version["uploaded"] += 1
                if version["uploaded"] > self.listed_after:
                    shown["model"] = {"id": f"washers/{number}"}
            return 200, {"version": shown}
        if rest == ["coco"]:
            if not version.get("exported"):
                version["exported"] = True
                return 202, {"progress": 0.4}
            return 200, {"export": {"link": f"{self.url}/zip"}}
        if rest == ["v2", "trainings"]:
            return 200, {"trainingId": "t/7", "status": "queued"}
        if rest == ["v2", "trainings", "get"]:
            status = self.trainings.pop(0) if len(self.trainings) > 1 else self.trainings[0]
            models = [{"modelId": "washers/1", "metrics": {"map": 0.7}}] if status == "finished" else []
            return 200, {"trainingId": "t/7", "status": status, "models": models}
        if rest == ["uploadModel"]:
            version["uploaded"] = 0
            return 200, {"url": f"{self.url}/signed"}
        return 404, {"error": "no such path"}

    def upload(self, request: Request) -> tuple[int, Any]:
        content = request.parts()["file"]
        with self.lock:
            known = content in self.images
            image_id = self.images.setdefault(content, f"i{len(self.images)}")
        return 200, {"duplicate": True, "id": image_id} if known else {"success": True, "id": image_id}

    def annotate(self, request: Request, image_id: str) -> tuple[int, Any]:
        if image_id in self.annotated and "overwrite" not in request.query:
            return 409, {"error": {"message": "Image was already annotated."}}
        self.annotated.add(image_id)
        return 200, {"success": True}


@contextmanager
def serving() -> Iterator[Fake]:
    fake = Fake()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, url.path, parse_qs(url.query), headers, body)
            with fake.lock:
                fake.requests.append(request)
                scripted = next((codes for part, codes in fake.failures.items() if part in url.path and codes), [])
                failing = scripted.pop(0) if scripted else 0
            if failing == DROP:
                self.close_connection = True
                self.connection.close()
                return
            # As some servers do: the URL with its key comes back in the message.
            failed = {"error": {"message": f"failed at {self.path}"}}
            status, content = (failing, failed) if failing else fake.answer(request)
            data = json.dumps(content).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"http://localhost:{server.server_port}/stolen")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
