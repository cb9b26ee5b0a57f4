"""Encoders: from texts and images to feature vectors.

`TfidfEncoder`, `PixelEncoder` and `PcaEncoder` are cheap and weak, `TextEncoder` and
`ImageEncoder` run a pretrained model. All share the contract of `Encoder`, which is also the base
for your own.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
