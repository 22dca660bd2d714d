"""Whole runs: a configuration comes in, and a finished run folder goes out. `stages` has the five stages (label,
build, train, evaluate, report); `runs` has what the Python API, pipeline files and the command line call.
"""
