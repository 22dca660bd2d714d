"""Segmenters: pixels and boxes come in, one mask a box goes out. SAM, SAM-HQ and SAM 2 of transformers, and any SAM
exported to ONNX.
"""
