"""Meaning of columns: which class a label or a weak column stands for, and what is missing."""
