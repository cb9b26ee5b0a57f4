"""Commands on labels that are values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

WORDS = np.array(["red", "blue", "green", "fast", "slow", "cheap", "big", "small", "old", "new"])


@pytest.fixture
def flats(tmp_path, rng):
    """Return a table of texts whose words have prices, with the prices of an old model."""
    worth = 10 * rng.normal(size=len(WORDS))
    chosen = rng.random((160, len(WORDS))) < 0.4
    price = (chosen @ worth + 100 + rng.normal(size=160)).round(2)
    frame = pd.DataFrame(
        {
            "text": [f"flat {i} {' '.join(WORDS[row])}" for i, row in enumerate(chosen)],
            "price": price,
            "old": (price + 8 * rng.normal(size=160)).round(2),
            "sure": 8.0,
        }
    )
    path = tmp_path / "flats.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_from_a_table_to_labelled_rows(w2s, flats, tmp_path):
    run = tmp_path / "run"
    columns = ("--item", "text", "--label", "price", "--weak-values", "old")
    code, out, err = w2s("score", flats, *columns, "--strong", "tfidf:12", "-o", run)
    assert code == 0
    assert "task='classification'" in err  # the note on what was recognised
    assert "Value posterior" in out
    code, out, _ = w2s("gain", run, "--methods", "stacked,naive", "--seeds", 1)
    assert code == 0
    assert "MSE" in out
    code, out, _ = w2s("apply", run, flats, "--to", tmp_path / "new.csv")
    assert code == 0
    assert "160 rows: mean" in out
    assert list(pd.read_csv(tmp_path / "new.csv")) == ["id", "value", "weak_value", "vote"]
    code, out, _ = w2s("next", run, "--budget", 5)
    assert code == 0
    assert "its column label: a number" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--weak-errors", "sure"), "weak_errors requires weak_values"),
        (("--weak-values", "text"), "column 'text' must hold numbers"),
        (("--weak-values", "old", "--task", "classification"), "is for classes"),
        (("--weak-values", "old", "--reference"), "leave out"),
        (("--teacher", "a=rules:{}", "--weak", "tfidf:4"), "teacher 'a'"),
    ],
)
def test_refusals_are_one_line(w2s, flats, tmp_path, arguments, message):
    columns = ("--item", "text", "--label", "price", "--strong", "tfidf:4")
    code, _, err = w2s("-q", "score", flats, *columns, *arguments, "-o", tmp_path / "run")
    assert code == 2
    error = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert message in error[0]
