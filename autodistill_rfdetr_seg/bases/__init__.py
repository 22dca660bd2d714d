"""Bases: the models that label. An image and an ontology come in, scored instances go out. `registry` knows the
names, `adapter` is one interface to every autodistill base, `contract` describes what a base may offer. Called by
`labels`, and by `evaluation` to score a base on gold images.
"""
