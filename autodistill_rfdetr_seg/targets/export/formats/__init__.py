"""The export formats, one file each. `known_formats` takes the sequence `FORMATS` of `ExportFormat` from every module
of this folder: a new file appears in `export --format`, in its errors and in `benchmark`, without a change elsewhere.
"""
