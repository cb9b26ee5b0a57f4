"""Groups that the teacher's labels and the pool hold in different shares, and what that costs."""

from __future__ import annotations

from w2s_data.spurious.analyzer import SpuriousAnalyzer

__all__ = ["SpuriousAnalyzer"]
