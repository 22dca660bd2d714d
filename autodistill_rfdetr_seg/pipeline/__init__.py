"""Whole runs: a configuration comes in and a finished run folder goes out. `stages` holds the five stages (label,
build, train, evaluate, report), `runs` the functions `label` and `run` of the Python API, which the command line
calls too.
"""
