"""check_parameters: constraints name the parameter, the allowed values and the one given."""

import numpy as np
import pytest

from w2s_data.errors import EncoderError, FeatureError, InputError
from w2s_data.utils.validation import (
    between,
    check_feature_block,
    check_magnitude,
    check_parameters,
    check_rows,
    check_same_length,
    nonnegative,
    one_of,
    positive,
    share,
    whole,
)


@pytest.mark.parametrize(
    ("constraint", "good", "bad", "message"),
    [
        (share, [0.5, np.float32(0.1)], [0, 1, "0.5", None, np.nan, True], r"a number in \(0, 1\)"),
        (between(0, 1), [0, 1.0], [-0.1, 1.1], r"a number in \[0, 1\]"),
        (between(0, 1, closed="right"), [1], [0], r"a number in \(0, 1\]"),
        (positive, [1e-9, 3], [0, np.inf], "a number > 0"),
        (nonnegative, [0, 3.5], [-1], "a number >= 0"),
        (whole(1), [1, np.int64(4)], [0, 1.0, True, "1"], "an integer >= 1"),
        (whole(2, 4), [2, 4], [1, 5], "an integer from 2 to 4"),
        (whole(), [-3], [0.5], "an integer;"),
        (one_of("l2", None), ["l2", None], ["l1", 0, np.zeros(2)], "'l2' or None"),
        (one_of("auto") | whole(1), ["auto", 3], [0, "aut"], "'auto' or an integer >= 1"),
        (one_of(True), [True], [1], "True"),
    ],
)
def test_constraints(constraint, good, bad, message):
    for value in good:
        check_parameters({"k": value}, {"k": constraint})
    for value in bad:
        with pytest.raises(
            InputError, match=f"^k must be {message}.*; got|^k must be {message} got"
        ):
            check_parameters({"k": value}, {"k": constraint})


def test_attributes_are_checked_and_the_nearest_name_is_suggested():
    class Estimator:
        metric = "cosin"

    message = "metric must be 'cosine' or 'l2'; got 'cosin'; did you mean 'cosine'?"
    with pytest.raises(EncoderError) as caught:
        check_parameters(Estimator(), {"metric": one_of("cosine", "l2")}, EncoderError)
    assert str(caught.value) == message


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("scale", "dtype", "message"),
    [
        (1e30, np.float32, r"x are too large to square in rows 10, 12 \(row 10 reaches 1e\+30\)"),
        (1e-30, np.float32, r"x are too small to square in rows 10, 12 \(row 10 reaches 1e-30\)"),
        (1e200, np.float64, "x are too large to square"),
        (np.inf, np.float32, "x have NaN or infinite values in rows 10, 12"),
        (0, np.float32, "x are all zero in rows 10, 12"),
        (1e18, np.float32, None),
        (1e-18, np.float32, None),
        (6e4, np.float16, None),
        (1e-7, np.float16, None),
        (1e-30, np.float64, None),
        (2**40, np.int64, None),
    ],
)
def test_rows_whose_lengths_overflow_or_vanish_are_refused(scale, dtype, message):
    block = np.ones((3, 2), dtype=dtype)
    block[::2] = scale
    numbers = np.arange(10, 13)
    if message is None:
        check_feature_block(block, numbers, "x", nonzero=True)
        return
    with pytest.raises(FeatureError, match=message):
        check_feature_block(block, numbers, "x", nonzero=True)


def test_zero_and_tiny_rows_may_be_of_use_where_no_direction_is_wanted():
    check_feature_block(np.array([[0.0], [1e-30]], np.float32), np.arange(2), "x", nonzero=False)


def test_a_missing_array_is_named():
    with pytest.raises(InputError, match="'splits' must hold one entry per row; got None"):
        check_same_length(labels=[0, 1], splits=None)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_values_whose_squares_leave_the_range_of_numbers_are_refused(size):
    with pytest.raises(InputError, match="must be between 1e-100 and 1e"):
        check_magnitude(np.array([0.0, np.nan, size]), "targets")


def test_zeros_missing_values_and_tiny_ones_among_others_have_squares():
    check_magnitude(np.array([0.0, np.nan]), "targets")
    check_magnitude(np.array([1e-200, 1.0]), "targets")


def test_rows_keep_their_order_and_repetitions():
    assert check_rows([3, 0, 3], 4, "rows").tolist() == [3, 0, 3]
    assert check_rows([], 4, "rows").tolist() == []
    assert check_rows([True, False, True], 3, "rows").tolist() == [0, 2]


@pytest.mark.parametrize("chosen", [[4], [-1], [0.5], [[0, 1]], [True], ["a"]])
def test_rows_that_are_not_there_are_refused(chosen):
    with pytest.raises(InputError, match=r"^pool "):
        check_rows(chosen, 4, "pool")
