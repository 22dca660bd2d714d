"""The overall metrics of a report, each as a function.

The arrays of COCOeval come in, numbers go out. `evaluator` computes every metric in the `METRICS` of every file here
(see `metric`), for masks and for boxes; metrics.json, gates and the report page then have it.
"""
