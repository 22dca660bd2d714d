"""The rules between what a base found and what a dataset keeps, one file each.

Instances of one image come in; those that a rule keeps, and those it rejects with a reason, go out. `refine` discovers
every file here that has `RULES` (see `refine_rule`) and runs them in the order they state; `explain` and
the report read their words.
"""
