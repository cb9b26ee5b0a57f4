"""Data sets: from any table to items, labels, splits, sources and weak labels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
