"""Hierarchies of teachers: which classes each level knows."""

import numpy as np
import pandas as pd
import pytest

from w2s_data import load_dataset
from w2s_data.teachers.lessons import hierarchy


@pytest.mark.parametrize("n_classes", [8, 10, 13])
def test_quarters_are_halves_of_halves(n_classes):
    names = tuple(f"{code:02}" for code in range(n_classes))
    table = pd.DataFrame({"item": names, "label": names})
    data = load_dataset(table, item="item", label="label", class_names=list(names))
    members = hierarchy("all", "quarters", data, np.arange(n_classes))
    assert [one.level for one in members] == [0, 1, 1, 2, 2, 2, 2]
    parts = [one.part.get("classes", names) for one in members]
    for parent, children in [(0, (1, 2)), (1, (3, 4)), (2, (5, 6))]:
        assert parts[children[0]] + parts[children[1]] == parts[parent]
        assert 0 <= len(parts[children[0]]) - len(parts[children[1]]) <= 1
        assert min(len(parts[child]) for child in children) >= 2
