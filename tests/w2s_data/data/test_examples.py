from __future__ import annotations

import numpy as np
import pytest

from w2s_data import load_dataset
from w2s_data.data.examples import (
    DOMINO_SHARES,
    EXAMPLES,
    Block,
    Example,
    available_examples,
    digit_dominoes,
    feature_dominoes,
    gaussian_overlap,
    load_example,
    spurious_gaussian,
)
from w2s_data.data.load import SPLITS
from w2s_data.data.regions import Region
from w2s_data.errors import InputError

HARD, EASY, OVERLAP = Region.HARD, Region.EASY, Region.OVERLAP


# ---------------------------------------------------------------------------------- every example


@pytest.mark.slow
@pytest.mark.parametrize("name", available_examples())
def test_contract(name):
    example = load_example(name, random_state=1)
    data = example.dataset
    assert isinstance(example, Example)
    assert data.name == name
    assert set(data.splits) == set(SPLITS)
    assert data.is_labelled.all()
    data.check_teacher_data()
    assert data.fingerprint == load_dataset(f"example:{name}", random_state=1).fingerprint
    assert data.fingerprint != load_example(name, random_state=2).dataset.fingerprint
    assert len(repr(data).splitlines()) <= 24
    for features in (example.strong_features, example.weak_features):
        if features is not None:
            assert features.dtype == np.float32
            assert len(features) == len(data)
    if data.kind == "features":
        assert data.features is example.strong_features
    if example.regions is not None:
        assert np.array_equal(data.truth["region"], example.regions)
        assert example.regions.dtype == np.int8


def test_the_registry_is_complete():
    assert available_examples() == sorted(EXAMPLES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gaussian_over", "did you mean 'gaussian_overlap'"),
        ("gaussian_overlap?overlpa=1", "did you mean 'overlap'"),
        ("gaussian_overlap?overlap=2", r"overlap must be a number in \[0, 1\]; got 2"),
        ("gaussian_overlap?missing=none", "missing must be .zero. or .noise."),
        ("gaussian_overlap?n=many", "n must be an integer from 1 to 100000000; got .many."),
        ("gaussian_overlap?mu=big", "cannot take 'mu=big'"),
        ("gaussian_overlap?overlap=big", "overlap must be a number"),
        ("gaussian_overlap?n=0", "n must be"),
        ("spurious_gaussian?n_pool=-1", "n_pool must be"),
        ("digits?channels=blurry", "did you mean 'blurred'"),
        ("digits?channels=()", "name each channel once"),
        ("digits?channels=clean,clean", "name each channel once"),
        ("spurious_gaussian?eta_pool=-1", "eta of the pool split must be a number"),
        ("shifted_gaussian?along=pool", "along must be .neither. or .label."),
        ("shifted_gaussian?prior=1.5", r"prior must be a number in \[0, 1\]; got 1.5"),
        ("shifted_gaussian?along=label&prior=0.3", "leaves no choice of prior"),
        ("shifted_digits?held_out=blury", "did you mean 'blurred'"),
        ("shifted_digits?held_out=clean,noisy", "either seen or held out; 'clean' is both"),
        ("shifted_digits?n_test=800", "take 1,900 of 1,797 scans, which leaves no pool"),
        ("spurious_gaussian?student_dims=9", r"student_dims must be an integer from 0 to 4"),
    ],
)
def test_names_and_parameters_that_cannot_be_used(name, message):
    with pytest.raises(InputError, match=message):
        load_example(name)


def test_parameters_in_the_name():
    data = load_example("digits?channels=clean,rotated").dataset
    assert set(data.sources) == {"clean", "rotated"}
    first = load_example("gaussian_overlap?n=60&random_state=4", random_state=0).dataset
    assert first.fingerprint == gaussian_overlap(n=60, random_state=4).dataset.fingerprint
    by_source = load_example("gaussian_overlap?n=60&sources={'a': 0.1, 'b': 0.5}").dataset
    assert set(by_source.sources) == {"a", "b"}


# ------------------------------------------------------------------------------ gaussian_overlap


@pytest.mark.parametrize("missing", ["zero", "noise"])
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5, 1.0])
def test_gaussian_truth(missing, overlap):
    n, mu, dim = 4000, 3.0, 20
    example = gaussian_overlap(n=n, overlap=overlap, missing=missing)
    region, y = example.regions, 2 * example.dataset.labels - 1
    counts = np.bincount(region, minlength=3)
    assert counts.tolist() == [n * (1 - overlap) / 2, n * (1 - overlap) / 2, n * overlap]
    easy, hard = np.hsplit(example.strong_features.astype(float), 2)
    assert np.array_equal(easy, example.weak_features)
    for block, absent in ((easy, HARD), (hard, EASY)):
        shown, other = block[region != absent], block[region == absent]
        if len(shown):
            pattern = (shown * y[region != absent, None]).mean(axis=0)
            assert np.linalg.norm(pattern) == pytest.approx(mu, abs=0.1)
            residual = shown - y[region != absent, None] * mu / np.sqrt(dim)
            assert residual.std() == pytest.approx(1, abs=0.03)
        if missing == "zero":
            assert not other.any()
        elif len(other):
            assert np.abs((other * y[region == absent, None]).mean(axis=0)).max() < 0.15
            assert other.std() == pytest.approx(1, abs=0.03)


def test_the_weak_model_knows_the_easy_block_only():
    example = gaussian_overlap(n=4000)
    right = example.dataset.weak_proba.argmax(axis=1) == example.dataset.labels
    assert right[example.regions != HARD].mean() > 0.99
    hard = example.dataset.weak_proba[example.regions == HARD]
    assert np.ptp(hard, axis=0).max() == 0  # zero features: the intercept alone
    noise = gaussian_overlap(n=4000, missing="noise")
    right = noise.dataset.weak_proba.argmax(axis=1) == noise.dataset.labels
    assert right[noise.regions == HARD].mean() == pytest.approx(0.5, abs=0.06)


def test_sources_of_known_density():
    densities = {"a": 0.1, "b": 0.4, "c": 0.8}
    example = gaussian_overlap(n=3000, sources=densities)
    for name, density in densities.items():
        rows = example.dataset.sources == name
        assert rows.sum() == 1000
        assert (example.regions[rows] == OVERLAP).mean() == density


# ------------------------------------------------------------------------------ feature_dominoes


def block(n: int = 120, first: int = 0) -> Block:
    """Items whose two features are their number and their class (2 for neutral ones)."""
    labels = np.arange(n) % 2
    shown = np.column_stack([first + np.arange(n), labels])
    neutral = np.column_stack([first + np.arange(n, 2 * n), np.full(n, 2)])
    weak = np.eye(3)
    return Block(
        shown.astype(float), labels, neutral.astype(float), weak[labels], weak[np.full(n, 2)]
    )


def test_dominoes_show_the_class_where_their_region_says_so():
    shares = {"a": (0.5, 0.3, 0.2), "b": (0.1, 0.2, 0.7), "c": (0.0, 0.0, 1.0)}
    example = feature_dominoes(block(), block(first=1000), shares, n_per_source=100)
    left, right = np.hsplit(example.strong_features, 2)
    y, region = example.dataset.labels, example.regions
    assert np.array_equal(left[:, 1], np.where(region == HARD, 2, y))
    assert np.array_equal(right[:, 1], np.where(region == EASY, 2, y))
    assert right[:, 0].min() >= 1000
    for name, share in shares.items():
        counts = np.bincount(region[example.dataset.sources == name], minlength=3)
        assert counts.tolist() == [round(100 * s) for s in share]
    assert np.array_equal(example.weak_features.argmax(axis=1), left[:, 1])


def test_the_weak_model_of_dominoes_sees_the_left_half_only():
    example = feature_dominoes(block(), block(), {"a": (0.4, 0.3, 0.3)}, n_per_source=400)
    proba = example.dataset.weak_proba
    sees = example.regions != HARD
    assert (proba.argmax(axis=1) == example.dataset.labels)[sees].all()
    assert proba[sees].max(axis=1).min() > 0.9
    assert proba[~sees].max(axis=1).max() < 0.65


def test_scored_points_leave_items_to_the_teacher():
    example = feature_dominoes(block(), block(), {"a": (0.4, 0.3, 0.3)}, n_per_source=3000)
    for half in np.hsplit(example.strong_features, 2):
        numbers = half[:, 0].astype(int)
        used, counts = np.unique(numbers, return_counts=True)
        assert len(used) == 72 + 72  # three fifths of 120 class items and of 120 neutral ones
        for kind in (0, 1, 2):  # reused evenly
            of_kind = [c for u, c in zip(used, counts, strict=True) if half_kind(u) == kind]
            assert max(of_kind) - min(of_kind) <= 1


def half_kind(number: int) -> int:
    return 2 if number >= 120 else number % 2


@pytest.mark.parametrize("share", [(0.5, 0.5), (0.5, 0.6, 0.1), (-0.1, 0.6, 0.5)])
def test_shares_that_are_none(share):
    with pytest.raises(InputError, match="shares of source 'a' must be"):
        feature_dominoes(block(), block(), {"a": share})


def test_blocks_that_cannot_be_joined():
    one_class = Block(np.ones((9, 2)), np.zeros(9, dtype=int), np.ones((9, 2)))
    with pytest.raises(InputError, match="requires weak_features"):
        feature_dominoes(one_class, block(), {"a": (0.4, 0.3, 0.3)})
    with pytest.raises(InputError, match="two items or more of each class"):
        feature_dominoes(block(), one_class, {"a": (0.4, 0.3, 0.3)})
    with pytest.raises(InputError, match="got no source"):
        feature_dominoes(block(), block(), {})


def test_digit_dominoes():
    example = digit_dominoes()
    for source, (hard, easy, overlap) in DOMINO_SHARES.items():
        counts = np.bincount(example.regions[example.dataset.sources == source], minlength=3)
        assert np.abs(counts / 250 - (hard, easy, overlap)).max() <= 1 / 250
    right = example.dataset.weak_proba.argmax(axis=1) == example.dataset.labels
    assert right[example.regions != HARD].mean() > 0.95
    assert right[example.regions == HARD].mean() < 0.65


# ----------------------------------------------------------------------------- spurious_gaussian


def test_spurious_truth():
    dz, a, b, rho, mu, s_x = 6, 3, 2, 0.4, 2.0, 0.5
    example = spurious_gaussian(
        n_labelled=4000, n_pool=8000, n_test=4000, n_validation=1000, noise=0.5,
        eta_labelled=0.1, eta_pool=0.6, eta_test=0.5, dim_core=dz, teacher_dims=a,
        student_dims=b, similarity=rho, mu=mu, group_variance=s_x,
    )  # fmt: skip
    data, truth = example.dataset, example.dataset.truth
    minority = data.groups == "minority"
    for split, size, eta in (
        ("labelled", 4000, 0.1),
        ("pool", 8000, 0.6),
        ("validation", 1000, 0.1),
        ("test", 4000, 0.5),
    ):
        assert len(data.rows(split)) == size
        assert minority[data.rows(split)].mean() == pytest.approx(eta, abs=0.03)
    assert np.array_equal(data.labels == 1, truth["target"] > 0)
    assert truth["signal"].var() == pytest.approx(1, abs=0.05)
    assert (truth["target"] - truth["signal"]).std() == pytest.approx(0.5, abs=0.02)
    assert abs(np.corrcoef(truth["signal"], minority)[0, 1]) < 0.03

    teacher = example.weak_features.astype(float).reshape(len(data), dz, a + 1)
    student = example.strong_features.astype(float).reshape(len(data), dz, b + 1)
    core = teacher[:, :, 0]
    assert np.array_equal(core, student[:, :, 0])
    assert np.cov(core.T) == pytest.approx(np.eye(dz), abs=0.05)
    assert truth["signal"].to_numpy() == pytest.approx(core.sum(axis=1) / np.sqrt(dz), abs=1e-5)
    largest = np.abs(core).argmax(axis=1)
    rows = np.arange(len(data))
    seen = np.hstack([t[rows, largest, 1:] / core[rows, largest, None] for t in (teacher, student)])
    shift = mu / np.sqrt(a + b) * np.array([1] * a + [rho + np.sqrt(1 - rho**2)] * b)
    assert seen[~minority].mean(axis=0) == pytest.approx(np.zeros(a + b), abs=0.04)
    assert seen[minority].mean(axis=0) == pytest.approx(shift, abs=0.04)
    covariance = s_x * np.eye(a + b)
    covariance[[0, 1, a, a + 1], [a, a + 1, 0, 1]] = s_x * rho
    assert np.cov(seen[minority].T) == pytest.approx(covariance, abs=0.04)


@pytest.mark.slow
def test_spurious_risks_follow_the_theory():
    """Excess risks of least squares meet the leading order (Bernoulli mixture) within 10 %."""
    dz, a, b, rho, mu, el, eu, et = 8, 3, 2, 0.5, 1.5, 0.2, 0.4, 0.7
    n, pool = 3000, 12000
    risks = []
    for seed in range(12):
        example = spurious_gaussian(
            n, pool, 8000, 1, el, eu, et, dz, a, b, rho, mu, random_state=seed
        )
        data, truth = example.dataset, example.dataset.truth
        rows = {split: data.rows(split) for split in SPLITS}
        weak, strong = example.weak_features, example.strong_features
        teacher = np.linalg.lstsq(
            weak[rows["labelled"]], truth["target"][rows["labelled"]], rcond=None
        )[0]
        student = np.linalg.lstsq(strong[rows["pool"]], weak[rows["pool"]] @ teacher, rcond=None)[0]
        signal = truth["signal"].to_numpy()[rows["test"]]
        risks.append(
            [
                np.mean((x[rows["test"]] @ w - signal) ** 2)
                for x, w in ((weak, teacher), (strong, student))
            ]
        )

    m = mu / np.sqrt(a + b)
    mu_t, mu_s = np.full(a, m), np.full(b, m * (rho + np.sqrt(1 - rho**2)))
    xi = rho * np.eye(a, b)

    def tau(eta):
        return eta * (1 - eta)

    def moment(shift, eta):
        return np.eye(len(shift)) + tau(eta) * np.outer(shift, shift)

    scale = 1 + tau(eu) * mu_s @ mu_s
    d = mu_t - xi @ mu_s
    slope = xi + tau(eu) / scale * np.outer(d, mu_s)
    v = (eu - el) * mu_t + (et - eu) * (xi @ mu_s + tau(eu) * mu_s @ mu_s / scale * d)
    inverse = np.linalg.inv(moment(mu_t, el))
    of_teacher = 1 + a + (et - el) * (1 - 2 * el) * mu_t @ mu_t / (1 + tau(el) * mu_t @ mu_t)
    of_student = 1 + v @ inverse @ v + np.trace(inverse @ slope @ moment(mu_s, et) @ slope.T)
    rest = moment(mu_t, eu) - slope @ (xi.T + tau(eu) * np.outer(mu_s, mu_t))
    inverse_s = np.linalg.inv(moment(mu_s, eu))
    of_student += (dz / pool) * np.trace(inverse @ rest) * (
        1 + (et - eu) ** 2 * mu_s @ inverse_s @ mu_s + np.trace(inverse_s @ moment(mu_s, et))
    )  # fmt: skip
    expected = dz / n * np.array([of_teacher, of_student])
    assert np.mean(risks, axis=0) == pytest.approx(expected, rel=0.1)
