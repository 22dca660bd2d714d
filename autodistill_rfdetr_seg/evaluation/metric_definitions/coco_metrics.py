"""The twelve metrics of COCO: AP and AR over IoU 0.50 to 0.95, by IoU, by size and by number of detections."""

from __future__ import annotations

from ..coco_arrays import ALL, IOU50, IOU75, LARGE, MEDIUM, SMALL, mean
from ..metric import Metric

METRICS = (
    Metric("ap", lambda a: mean(a.precision[..., ALL]), 10, "AP", "mean over IoU 0.50 to 0.95", for_boxes=True),
    Metric("ap50", lambda a: mean(a.precision[IOU50, ..., ALL]), 20, "AP50", "IoU 0.50", for_boxes=True),
    Metric("ap75", lambda a: mean(a.precision[IOU75, ..., ALL]), 30, "AP75", for_boxes=True),
    Metric("ap_small", lambda a: mean(a.precision[..., SMALL]), 40, "AP small", "under 32² pixels"),
    Metric("ap_medium", lambda a: mean(a.precision[..., MEDIUM]), 50, "AP medium", "32² to 96² pixels"),
    Metric("ap_large", lambda a: mean(a.precision[..., LARGE]), 60, "AP large", "over 96² pixels"),
    Metric("ar_1", lambda a: mean(a.recall_1[..., ALL]), 70, "AR, 1 detection"),
    Metric("ar_10", lambda a: mean(a.recall_10[..., ALL]), 80, "AR, 10 detections"),
    Metric("ar", lambda a: mean(a.recall[..., ALL]), 90, "AR, {max} detections", for_boxes=True),
    Metric("ar_small", lambda a: mean(a.recall[..., SMALL]), 100),
    Metric("ar_medium", lambda a: mean(a.recall[..., MEDIUM]), 110),
    Metric("ar_large", lambda a: mean(a.recall[..., LARGE]), 120),
)
