"""w2s-reports: the report of a run, as a page, Markdown, terminal text and JSON.

Public names are loaded on first use, so that importing the package imports no heavy library.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
