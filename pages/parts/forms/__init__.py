"""The forms of the kinds of job: one module a kind, which the kind's row names (core/kinds.py).

Each has `show(dataset, start, priority, mark)`: it draws the fields, filled from the spec `start` where there is one,
and returns them by their names in the spec, with `priority`, once the form is submitted; else None. `mark` tells a
cloned job's fields from others in the session. Number fields have no limits: a browser that meets one does not submit
and does not say why; core does.
"""
