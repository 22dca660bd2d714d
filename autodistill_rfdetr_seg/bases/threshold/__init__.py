"""The embedded base: bright, dark or colored objects on a plain background, found by thresholds and a watershed.
Pixels and prompts come in, scored masks go out; no weights.
"""
