"""Summaries: models of the JSON files that stages leave in a run, key by key."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
