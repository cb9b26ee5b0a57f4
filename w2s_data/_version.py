"""The one place that spells the version."""

__version__ = "0.2.0"
