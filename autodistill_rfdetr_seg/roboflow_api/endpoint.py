"""A model on a server: Roboflow's hosted API, a dedicated deployment, or your own Inference server.

The image goes as base64 in a POST, the answer is JSON. A redirect is never followed: the key is for the host that the
user named, and for no other.
"""

from __future__ import annotations

import base64
import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from .. import coco
from ..core import masks
from ..core.compact_detections import to_detections
from ..core.config import DISPLAY_CONFIDENCE
from ..core.errors import RemoteError, UsageError
from ..images.rgb_image import RgbImage
from ..runtime.instance_mask import Mask
from ..runtime.output_decoding import Detection
from . import calls, keys, sdk

if TYPE_CHECKING:
    import supervision as sv

# A lossless image with more bytes is sent as JPEG: servers refuse long requests.
LARGEST_PNG = 5_000_000
_JPEG_QUALITY = 95

_log = logging.getLogger(__name__)


class EndpointModel:
    """An instance-segmentation model on a server, with the methods of `RFDETRSeg`.

    `url` is that of the model, such as https://serverless.roboflow.com/PROJECT/VERSION. Without `class_names` those of
    the project are asked of Roboflow. The key is taken from the environment, where there is one.

    Raises:
        UsageError: the URL is none that the key may be sent to, or the classes cannot be found out.
    """

    def __init__(self, url: str, *, class_names: Sequence[str] | None = None, insecure: bool = False) -> None:
        import requests

        self.url = self.name = keys.check_url(url, insecure=insecure)
        self._session = requests.Session()
        # No key from a .netrc, and no proxy for a server on this machine.
        self._session.trust_env = not keys.is_loopback(urlsplit(url).hostname or "")
        self._unknown: set[str] = set()
        self.class_names: tuple[str, ...] = tuple(class_names or _classes_of(url))

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """The instances above `confidence` in RGB HWC uint8 images, best first, as `RFDETRSeg.predict_batch`.

        Raises:
            RemoteError: the server refuses, fails, or gives what is no answer about this image.
        """
        return [self._detections(self.ask(image, confidence), image.shape[:2], confidence) for image in images]

    def ask(self, image: RgbImage, confidence: float) -> dict[str, Any]:
        """The server's answer about one RGB HWC uint8 image; raises RemoteError."""
        # Some servers take a fraction and some a percentage; from one percent on it is a percentage for both.
        percent = max(1, math.floor(confidence * 100))
        query = {"confidence": str(percent), "format": "json", "response_mask_format": "rle"}
        secret = keys.key(needed=False)
        found = calls.call_server(
            f"The endpoint {self.url} did not answer",
            self._post,
            query | ({"api_key": secret} if secret else {}),
            _body(image),
        )
        if not isinstance(found, dict) or not isinstance(found.get("predictions"), list):
            raise RemoteError(
                f"The endpoint {self.url} returned no predictions.", "Is it the URL of a model, …/PROJECT/VERSION?"
            )
        return found

    def _post(self, query: dict[str, str], body: bytes) -> Any:
        answer = self._session.post(
            self.url,
            params=query,
            data=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            timeout=calls.TIMEOUT,
            allow_redirects=False,
            hooks={"response": calls.keep_answer},
        )
        if answer.is_redirect:
            raise RemoteError(
                f"The endpoint {self.url} redirects to another address, which must not get the key.",
                "Give the URL that it means, if you trust it.",
            )
        answer.raise_for_status()
        return answer.json()

    def _detections(self, found: dict[str, Any], shape: tuple[int, ...], confidence: float) -> sv.Detections:
        height, width = shape[:2]
        size = found.get("image") or {}
        if isinstance(size, dict) and size and (size.get("height"), size.get("width")) != (height, width):
            raise RemoteError(
                f"The endpoint {self.url} answered for an image of {size.get('width')} x {size.get('height')} pixels, "
                f"not of {width} x {height}."
            )
        kept: list[Detection] = []
        for one in found["predictions"]:
            score, name = self._said(one)
            if score <= confidence or not self._is_known(name):
                continue
            try:
                rle = coco.from_answer(one, height, width)
            except ValueError as error:
                raise RemoteError(f"The endpoint {self.url} returned an invalid mask: {error}.") from None
            if rle is None:
                raise RemoteError(
                    f"The endpoint {self.url} returned boxes without masks.", "Use an instance-segmentation model."
                )
            if masks.area(rle):
                crop = masks.decode_crop(rle)
                # As supervision's `mask_to_xyxy`: the last pixels, not the edges beyond them.
                box = np.array([crop.left, crop.top, crop.right - 1, crop.bottom - 1], dtype=np.float32)
                mask = Mask(height, width, crop)
                kept.append(Detection(self.class_names.index(name), score, box, mask))
        kept.sort(key=lambda one: -one.score)
        return to_detections(kept, shape, self.class_names)

    def _said(self, one: Any) -> tuple[float, str]:
        try:
            return float(one["confidence"]), str(one["class"])
        except (KeyError, TypeError, ValueError):
            raise RemoteError(f"The endpoint {self.url} returned a prediction without class or confidence.") from None

    def _is_known(self, name: str) -> bool:
        if name not in self.class_names and name not in self._unknown:
            self._unknown.add(name)
            _log.warning(
                "The endpoint returned the class %r, which is not one of the given classes; it is left out.", name
            )
        return name in self.class_names


def _body(image: RgbImage) -> bytes:
    """The image as base64: PNG, or JPEG if the PNG is too long."""
    import cv2

    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", bgr)
    if len(encoded) > LARGEST_PNG:
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return base64.b64encode(encoded.tobytes())


def _classes_of(url: str) -> tuple[str, ...]:
    """The class names of the project in the URL, in the workspace of the key; sorted."""
    hint = "Name them, in any order: --class NAME, once for each."
    project = urlsplit(url).path.strip("/").split("/")[0]
    if not keys.key(needed=False) or not project:
        raise UsageError(f"The classes of {url} are not known.", hint)
    with sdk.contained():
        from roboflow import check_key

        found: Any = calls.call_server("The workspace of the key could not be asked for", check_key, keys.key(), "", "")
        workspace = found.get("workspace") if isinstance(found, dict) else None
        if not workspace:
            raise UsageError(f"The classes of {url} are not known.", hint)
        try:
            names = sdk.read_project(workspace, project).get("classes") or {}
        except RemoteError as error:
            raise UsageError(f"The classes of {url} are not known: {error.message}", hint) from None
    if not names:
        raise UsageError(f"The project {workspace}/{project} has no classes.", hint)
    return tuple(sorted(names))
