"""Pictures for people. RGB pixels and instances come in; images with masks, boxes and captions drawn on them, and
contact sheets (PNG and HTML), go out. Called by `predict`, `review` and `report`.
"""
