"""A trained model at work: images, folders or videos and a model come in; instances, COCO files, JSON lines, pictures
and annotated videos go out, so that an interruption loses nothing. Called by the command line and the Python API.
"""
