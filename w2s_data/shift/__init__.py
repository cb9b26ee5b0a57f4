"""Shift: are these rows where the labels came from, and if not, which of them are elsewhere?"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
