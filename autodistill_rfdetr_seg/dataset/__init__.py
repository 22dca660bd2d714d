"""The label store becomes a dataset: rows come in, are refined, grouped and split, and COCO folders (train, valid,
test) with `dataset.json` go out. Also joins several such datasets. Called by `pipeline`; its result is read by
`targets` and later.
"""
