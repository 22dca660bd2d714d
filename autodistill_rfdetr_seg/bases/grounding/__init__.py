"""Grounding DINO of transformers: free text and pixels come in, scored boxes go out; many images and prompts a call."""
