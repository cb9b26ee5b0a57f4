"""The levels of a student: a head on frozen features, adapters, or the whole model."""
