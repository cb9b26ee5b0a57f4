"""w2s-selectors: which data source to query next, within a budget.

Public names are loaded on first use, so that `import w2s_selectors` imports no heavy library.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
