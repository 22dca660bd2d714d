"""Running a trained model, in torch or exported: images come in, instances with masks go out. Called by `predict`,
`evaluation` and `benchmarking`.
"""
