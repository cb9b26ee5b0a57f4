"""Compute: devices, and the engines that compute the blocks of a stage."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
