"""Label with a base of your own: any autodistill `DetectionBaseModel`. This file has two: one that gives masks, and a
detector in ONNX that gives boxes; a segmenter makes masks from them.

python examples/own_base.py IMAGES OUTPUT

autodistill-seg label IMAGES --base examples/own_base.py:OnnxDetector --base-arg weights=detector.onnx --class bottle
    --segmenter onnx-sam --segmenter-arg model=mobile_sam --output OUTPUT
"""

import sys
from dataclasses import dataclass

import cv2
import numpy as np
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel

from autodistill_rfdetr_seg import SegDataset, label


@dataclass
class BrightBlobs(DetectionBaseModel):
    """Each connected bright region is one object. Put your own model here."""

    ontology: CaptionOntology
    level: int = 128

    def predict(self, input: np.ndarray) -> sv.Detections:
        """`input` is an HWC uint8 BGR array; `class_id` is the index of the prompt."""
        bright = (cv2.cvtColor(input, cv2.COLOR_BGR2GRAY) > self.level).astype(np.uint8)
        count, patches = cv2.connectedComponents(bright)
        if count == 1:
            return sv.Detections.empty()
        masks = np.stack([patches == number for number in range(1, count)])
        return sv.Detections(
            xyxy=sv.mask_to_xyxy(masks).astype(float),
            mask=masks,
            confidence=np.full(len(masks), 0.9),
            class_id=np.zeros(len(masks), dtype=int),
        )


# fmt: off
COCO = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis",
    "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed",
    "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven",
    "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
    "toothbrush",
]
# fmt: on


class OnnxDetector(DetectionBaseModel):
    """A detector in an ONNX file. A prompt is one of its classes.

    It expects a file that takes one image, float (1, S, S, 3) RGB 0..255, stretched to a square, and returns rows
    (1, N, 6) of x0, y0, x1, y1 (in pixels of that square), score and class. Change `boxes` for another format.

    Args:
        ontology: class of the detector → class of yours.
        weights: the ONNX file. Its hash is stored with the labels: a file with other content is another base.
        floor: the lowest score of a box, 0..1. `build --confidence` can raise it later.
        names: the detector's classes in the order of their numbers; by default COCO's 80.
        threads: number of CPU threads; None for one per core.
    """

    def __init__(
        self,
        ontology: CaptionOntology,
        weights: str,
        floor: float = 0.2,
        names: list[str] | None = None,
        threads: int | None = None,
    ) -> None:
        import onnxruntime

        self.ontology, self.weights, self.floor = ontology, weights, floor
        self._names = list(names or COCO)
        if unknown := [prompt for prompt in ontology.prompts() if prompt not in self._names]:
            raise ValueError(f"the detector has no class {unknown[0]!r}; it has {', '.join(self._names)}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def predict(self, input: np.ndarray) -> sv.Detections:
        """Boxes without masks; `input` is an HWC uint8 BGR array, `class_id` is the index of the prompt."""
        prompts = self.ontology.prompts()
        prompt_of = {number: prompts.index(name) for number, name in enumerate(self._names) if name in prompts}
        rows = [row for row in self.boxes(input) if row[4] > self.floor and int(row[5]) in prompt_of]
        if not rows:
            return sv.Detections.empty()
        return sv.Detections(
            xyxy=np.array([row[:4] for row in rows]),
            confidence=np.array([row[4] for row in rows]),
            class_id=np.array([prompt_of[int(row[5])] for row in rows]),
        )

    def boxes(self, bgr: np.ndarray) -> np.ndarray:
        """Rows (N, 6) float: a box XYXY in pixels, clipped to the image, its score, and the number of its class."""
        (port,) = self._session.get_inputs()
        side = port.shape[1]
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        pixels = cv2.resize(rgb, (side, side)).astype(np.float32)[None]
        rows = self._session.run(None, {port.name: pixels})[0].reshape(-1, 6).astype(float)
        height, width = bgr.shape[:2]
        rows[:, :4] = np.clip(rows[:, :4] * np.array([width, height] * 2) / side, 0, [width, height] * 2)
        return rows


def main(images: str, output: str) -> SegDataset:
    """Labels the folder; on the command line `--base examples/own_base.py:BrightBlobs --class blob` does the same."""
    dataset = label(BrightBlobs(CaptionOntology({"blob": "blob"})), images, output)
    print(f"{dataset.counts} in {dataset.root}")
    return dataset


if __name__ == "__main__":
    main(*sys.argv[1:3])
