"""Overlap: which points carry both an easy pattern and a hard one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
