"""Labeling: images and a base come in, rows of the label store (Parquet, one row an image, nothing thresholded) go
out. Also answers which images still lack labels and which row counts for each image, the base's or a person's. Called
by `pipeline`, `review`, `dataset` and `evaluation`.
"""
