"""Defaults that light modules need too: this one imports nothing."""

LEVEL = 0.95  # coverage of an interval unless the caller asks for another
