"""Warnings of a stage, kept for its summary."""

from w2s_data.utils.warnings import collect_warnings as noting

__all__ = ["noting"]
