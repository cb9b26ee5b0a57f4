"""Session: one selection in progress, its checkpoint and its result."""
