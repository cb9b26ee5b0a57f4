"""w2s-data: what your data is worth for weak-to-strong training.

Public names are loaded on first use, so that `import w2s_data` imports no heavy library.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
