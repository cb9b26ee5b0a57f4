"""Defaults that light modules need too: this one imports nothing."""

LEVEL = 0.95  # coverage of an interval unless the caller asks for another

# Limits of settings, which the shell, TOML and the classes share. A value beyond them is a slip
# that would run for weeks, or overflow: libraries take counts as integers of C, and a penalty of
# 1e9 leaves nothing but the intercept of a model.
LARGEST_COUNT = 2**31 - 1
LARGEST_SEED = 2**32 - 1  # that scikit-learn takes
MOST_PENALTY = 1e9
MOST_SEEDS = 1000
MOST_EPOCHS = 100_000
