"""What is trained: a head on frozen features, adapters, or a whole model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
