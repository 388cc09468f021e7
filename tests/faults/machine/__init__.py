"""A machine that does to a real store whatever may be done to it, beside a plain model of it.

`model` says what a store is, in Python; `rig` is the real one, with connections that break on
demand; `laws` are what must hold whatever anybody does; `rules` are the steps.
"""
