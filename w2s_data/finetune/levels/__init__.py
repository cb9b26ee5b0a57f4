"""Tunings: a head on frozen features, adapters, or a whole model."""
