"""Work on many machines. In: what an actor does (`Work`) and the items to do it on; out: each item with its answer, in
the order in which they are done. `labels/ray_labeling.py` and `predict/ray_prediction.py` use it. Only this folder
imports Ray."""
