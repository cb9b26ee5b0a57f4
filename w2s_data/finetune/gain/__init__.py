"""Measure what students gain over their teacher."""
