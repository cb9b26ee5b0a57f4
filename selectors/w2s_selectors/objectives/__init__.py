"""Objectives: what a source is worth, how certain that is, and which sources to stop.

An objective judges everything acquired so far after each answer. It either counts points, and a
policy weighs what is known against what may still be learned; or it computes what each source
would bring, and the choice is greedy.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
