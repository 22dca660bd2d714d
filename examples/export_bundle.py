"""Export a trained model, and run it without torch, as another program would.

python examples/export_bundle.py RUN OUTPUT IMAGE
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from autodistill_rfdetr_seg import RFDETRSeg
from autodistill_rfdetr_seg.targets import checkpoint_of


def main(run: str, output: str, image: str, confidence: float = 0.5) -> list[dict[str, Any]]:
    """Writes the bundle (ONNX; kept only if it finds the same instances as the model), and runs it on an image."""
    target = RFDETRSeg.from_checkpoint(checkpoint_of(Path(run)), device="cpu")
    target.export(output, format="onnx", bundle=True)

    # Another machine only needs `pip install -r requirements.txt` in OUTPUT.
    command = [sys.executable, str(Path(output) / "run.py"), image, "--confidence", str(confidence)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    print(f"{len(found)} instances found without torch")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:4])
