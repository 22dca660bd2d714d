"""Training RF-DETR Seg: a dataset and options come in; preflight findings, then a checkpoint and `run.json` go out.
Called by `RFDETRSeg.train`, which is what `pipeline` and scripts call.
"""
