"""Objectives: what a selection maximizes, and when it stops a source."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
