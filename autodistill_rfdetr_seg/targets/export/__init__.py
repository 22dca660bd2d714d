"""Exporting a trained model: a target comes in; a model in another format goes out, with the proof that it finds the
same instances as the model in torch.
"""
