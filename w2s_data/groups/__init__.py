"""Groups and sources: which parts of the data the teacher knows, which it misses, which leak."""

from __future__ import annotations

from w2s_data.groups.analyzer import GroupAnalyzer

__all__ = ["GroupAnalyzer"]
