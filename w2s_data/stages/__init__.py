"""The stages of a run; each reads the run directory, adds to it, and can be resumed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
