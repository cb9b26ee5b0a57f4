"""Helpers of all packages: files, validation, intervals, progress."""
