"""The way to Roboflow and back: push a dataset, train there, deploy a model, predict at an endpoint.

Only `keys` knows the key, which comes from the environment alone; `sdk` contains Roboflow's own package.
"""

from .cloud import Place, Trained, follow, train
from .deploying import Deployed, deploy
from .endpoint import EndpointModel
from .pushing import Pushed, PushOptions, push

__all__ = [
    "Deployed",
    "EndpointModel",
    "Place",
    "PushOptions",
    "Pushed",
    "Trained",
    "deploy",
    "follow",
    "push",
    "train",
]
