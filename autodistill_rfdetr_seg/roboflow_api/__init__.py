"""The way to Roboflow and back: push a dataset, train there, deploy a model, predict at an endpoint.

Only `sdk` and what it calls knows the key, which comes from the environment alone.
"""

from .cloud import Trained, follow, train
from .deploying import Deployed, deploy
from .endpoint import EndpointModel
from .push import Pushed, push

__all__ = ["Deployed", "EndpointModel", "Pushed", "Trained", "deploy", "follow", "push", "train"]
