"""Prediction into files: a model and images, a folder or a video come in; COCO files, JSON lines, pictures and
annotated videos go out, so that an interruption loses nothing. Called by the command line and the Python API.
"""
