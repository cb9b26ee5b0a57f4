"""Sources: where items come from. A table that is at hand, or any function that delivers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
