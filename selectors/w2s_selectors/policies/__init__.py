"""Policies: which source to query next, given what is known of all of them.

A policy is an immutable record of its parameters. It scores the sources; the source with the
highest score per unit of cost is queried, those that were never queried first.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
