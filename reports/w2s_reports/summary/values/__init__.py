"""Sections of runs whose labels are values: errors in place of accuracies."""
