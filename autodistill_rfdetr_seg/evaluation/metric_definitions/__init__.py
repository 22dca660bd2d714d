"""The overall metrics of a report, a function each.

COCOeval's arrays come in, numbers go out. `evaluator` computes every metric of every file here that has `METRICS` (see
`metric`), for masks and for boxes; metrics.json, gates and the report page have it from then on.
"""
