"""Sweeps on worlds whose answer is known: what is varied, measured and predicted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from w2s_data import LinearProbe
from w2s_data.compute.base import LocalEngine
from w2s_data.compute.kept import KeepingEngine
from w2s_data.data.synthetic import gaussian_overlap
from w2s_data.errors import InputError
from w2s_data.sweep import DESIGNS, SweepOptions, World, sweep
from w2s_data.sweep.noise import flipped
from w2s_data.sweep.result import mean_over_seeds, ratio_over_seeds
from w2s_data.sweep.sizes import sizes
from w2s_data.sweep.theory import used_dimensions


def world(n=(80, 500, 300), *, groups=False, ready=False, unknown_pool=False, seed=0):
    """Two classes; the weak features are two noisy columns of the six strong ones."""
    rng = np.random.default_rng(seed)
    splits = np.repeat(["labelled", "pool", "test"], n)
    labels = rng.integers(0, 2, sum(n))
    strong = rng.normal(size=(sum(n), 6)) + np.array([1, 1, 0.5, 0, 0, 0]) * labels[:, None]
    weak = strong[:, :2] + rng.normal(size=(sum(n), 2))
    names = None
    if groups:
        share = np.select([splits == "labelled", splits == "pool"], [0.2, 0.5], 0.5)
        names = np.where(rng.random(sum(n)) < share, "rare", "usual")
        # In the usual group a column agrees with the label that says nothing in the other.
        weak[:, 1] = np.where(names == "usual", 2 * labels, 2 - 2 * labels) + 0.5 * weak[:, 1]
        strong[:, 5] = weak[:, 1] + rng.normal(size=sum(n))
    proba = np.full((sum(n), 2), 0.5)
    if ready:
        proba = np.eye(2)[np.where(rng.random(sum(n)) < 0.2, 1 - labels, labels)]
    if unknown_pool:
        labels = np.where(splits == "pool", -1, labels)
    probe = LinearProbe(l2=0.01, device="cpu")
    return World(strong, None if ready else weak, proba, labels, splits, probe, probe, groups=names)


def known_types(seed=0):
    """Overlap points from a generator, with its ready-made weak labels."""
    made = gaussian_overlap(900, 0.4, "zero", mu=3.0, random_state=seed)
    splits = np.where(np.arange(900) % 3 == 0, "test", "pool")
    data = made.dataset
    probe = LinearProbe(l2=0.01, device="cpu")
    return World(made.strong_features, None, data.weak_proba, data.labels, splits, probe, probe)


def test_overlap_points_teach_more_where_the_generator_made_them():
    result = sweep(known_types(), SweepOptions("overlap", draws=2), seeds=3)
    line = result["student of the mixture"]
    assert [point.x for point in line.points] == pytest.approx(np.linspace(0, 1, 11))
    assert result.facts["slope"].low > 0
    assert result.facts["slope"].value == pytest.approx(
        np.polyfit(np.linspace(0, 1, 11), line.values(), 1)[0]
    )
    # Its easy-only points show a student of all features nothing new.
    assert line.values()[-1] > line.values()[0] + 0.02
    levels = {line.name for line in result.lines if line.kind == "reference"}
    assert levels == {
        "as many random points",
        "the most confident points",
        "random points with gold labels",
        "teacher",
    }


def test_each_seed_has_its_own_labelled_set_of_the_same_classes_and_groups():
    made = world(groups=True)
    first, again, other = made.draw(0), made.draw(0), made.draw(1)
    np.testing.assert_array_equal(first.labelled, again.labelled)
    assert set(first.labelled) != set(other.labelled)
    assert not set(first.labelled) & set(first.pool)
    assert {*first.labelled, *first.pool} == set(np.flatnonzero(made.splits != "test"))
    before = np.flatnonzero(made.splits == "labelled")
    for rows in (first.labelled, other.labelled):
        for values in (made.labels, made.groups):
            kinds = [np.unique(values[part], return_counts=True) for part in (rows, before)]
            np.testing.assert_array_equal(kinds[0][1], kinds[1][1])


@pytest.mark.parametrize("kind", [{"unknown_pool": True}, {"ready": True}])
def test_the_labelled_set_stays_where_no_other_is_known(kind):
    made = world(**kind)
    np.testing.assert_array_equal(made.draw(3).labelled, np.flatnonzero(made.splits == "labelled"))
    result = sweep(made, SweepOptions("noise", draws=1), seeds=2)
    assert result["student"].values()[0] > 0.7


def test_a_shortcut_of_the_teacher_pays_where_the_pool_has_it_too():
    result = sweep(world((300, 1500, 600), groups=True), SweepOptions("eta"), seeds=3)
    shares = [point.x for point in result["gain, both groups alike"].points]
    assert shares == [0.05, 0.1, 0.2, 0.3, 0.4, 0.5]
    worst, average = result["gain where it is worst"], result["gain, both groups alike"]
    assert (worst.values() <= average.values() + 1e-12).all()
    limit = result["least squares on endless rows, both groups alike"]
    # Endless rows of these groups, drawn afresh, and a teacher and students trained on them.
    assert np.abs(limit.values() - average.values()).max() < 0.06
    assert limit.values()[0] > limit.values()[-1]
    assert result.facts["fall of the average gain"].low > 0
    assert result.facts["rank correlation with the theory"].value > 0.8
    assert result.facts["share in the labelled set"].value == pytest.approx(0.2, abs=0.08)


def test_the_variance_of_label_noise_is_on_the_scale_of_the_measurement():
    made = world((300, 1500, 600), groups=True, unknown_pool=True)
    result = sweep(made, SweepOptions("eta"), seeds=2)
    average = result["gain, both groups alike"].values()
    theory = result["theory, both groups alike"].values()
    raw = result["theory, as a part of the teacher's risk"].values()
    assert theory.mean() == pytest.approx(average.mean())
    assert theory.std() == pytest.approx(average.std())
    np.testing.assert_array_equal(np.argsort(theory), np.argsort(raw))


def test_more_teachers_of_other_shares():
    options = SweepOptions("eta", group="rare", eta_labelled=(0.5,))
    result = sweep(world((300, 1500, 600), groups=True), options, seeds=2)
    assert result["gain, both groups alike; teacher at 50%"].kind == "measured"
    assert np.isfinite(result.facts["rank correlation with the theory"].value)


def test_ratios_are_those_of_the_mean_accuracies():
    result = sweep(world(), SweepOptions("gold"), seeds=3)
    mean = {
        name: result[name].values() for name in ("teacher", "student of weak labels", "ceiling")
    }
    student = mean["student of weak labels"]
    assert [point.x for point in result["teacher"].points] == [40, 80]
    recovered = (student - mean["teacher"]) / (mean["ceiling"] - mean["teacher"])
    np.testing.assert_allclose(result["PGR"].values(), recovered)
    alone = result["student of the gold labels alone"].values()
    np.testing.assert_allclose(result["OPR"].values(), (1 - alone) / (1 - student))


def test_more_weak_labels_make_a_better_student_as_the_theory_says():
    result = sweep(world((80, 1600, 500)), SweepOptions("pool"), seeds=4)
    student, theory = result["student of weak labels"], result["student by the theory"]
    assert [point.x for point in student.points] == [100, 200, 400, 800, 1600]
    assert student.values()[-1] > student.values()[0]
    assert (np.diff(theory.values()) > 0).all()  # less variance at every step
    assert np.ptp(result["teacher"].values()) == 0
    assert result.facts["d_w"].value == 2


def test_noise_costs_what_a_smaller_pool_costs():
    result = sweep(world((80, 1600, 600)), SweepOptions("noise"), seeds=3)
    measured = result["student"].values()
    equal = result["student of as many clean weak labels as these are worth"].values()
    assert measured[0] == equal[0]
    assert np.abs(measured - equal)[:5].max() < 0.03
    labels = result["weak labels themselves"].values()
    np.testing.assert_allclose(labels[3], 0.8 * labels[0] + 0.2 * (1 - labels[0]))


def test_flips_move_the_vote_to_each_other_class_alike():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet([1, 1, 1, 1], size=20_000)
    noisy = flipped(proba, 0.3, rng)
    moved = (noisy.argmax(axis=1) - proba.argmax(axis=1)) % 4
    counts = np.bincount(moved, minlength=4) / len(moved)
    np.testing.assert_allclose(counts, [0.7, 0.1, 0.1, 0.1], atol=0.01)
    np.testing.assert_allclose(np.sort(noisy, axis=1), np.sort(proba, axis=1))


def test_pairs_of_models_have_their_dimensions_beside_the_gain():
    made = world((80, 600, 300))
    rng = np.random.default_rng(1)
    models = {
        "narrow": made.weak,
        "noise": rng.normal(size=(980, 3)),
        "wide": made.strong,
    }
    options = SweepOptions("model", strong_models=("wide",), weak_models=("narrow", "noise"))
    made = World(**{**vars(made), "models": models})
    result = sweep(made, options, seeds=2)
    first, second = result.table
    assert (first["weak"], first["d_w"].value, first["d_s"].value) == ("narrow", 2, 6)
    assert first["teacher"].value > 0.65 > second["teacher"].value
    assert 0 < first["d_sw"].value < 2
    assert second["d_sw"].value < 0.3  # noise shares no direction with anything
    assert first["gain"].value == pytest.approx(first["student"].value - first["teacher"].value)


def test_finished_seeds_are_kept_and_more_seeds_add_to_them(tmp_path, monkeypatch):
    made, options = world(), SweepOptions("noise", draws=1)
    whole = sweep(made, options, seeds=3)

    engine = KeepingEngine(LocalEngine(), tmp_path)
    sweep(made, options, seeds=2, engine=engine)
    measure = DESIGNS["noise"].measure
    seen = []
    monkeypatch.setitem(
        DESIGNS,
        "noise",
        type(DESIGNS["noise"])(lambda *a: seen.append(a[1]) or measure(*a), DESIGNS["noise"].read),
    )
    result = sweep(made, options, seeds=3, engine=KeepingEngine(LocalEngine(), tmp_path))
    assert seen == [2]
    assert result.to_dict() == whole.to_dict()
    fewer = sweep(made, options, seeds=1, engine=KeepingEngine(LocalEngine(), tmp_path))
    assert fewer.n_seeds == 1


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        (world(), SweepOptions("eta"), "no groups whose share"),
        (world(groups=True), SweepOptions("eta", group="odd"), "'odd' is not one of rare, usual"),
        (world((30, 60, 60)), SweepOptions("overlap"), "overlap points, or others, are too few"),
        (world((30, 60, 60)), SweepOptions("gold"), "30 gold labels make no curve"),
        (world((30, 30, 60)), SweepOptions("noise"), "30 pool points are too few"),
        (world((80, 40, 60), groups=True), SweepOptions("eta"), "are of the group, are too few"),
    ],
)
def test_too_little_of_anything_is_one_line(made, options, message):
    with pytest.raises(InputError, match=message):
        sweep(made, options, seeds=1)


def test_intervals_over_seeds():
    values = np.array([0.1, 0.2, 0.25, 0.3])
    found = mean_over_seeds(values, 0.9)
    half = t.ppf(0.95, 3) * values.std(ddof=1) / 2
    assert (found.value, found.low) == pytest.approx((values.mean(), values.mean() - half))
    assert np.isnan(mean_over_seeds([0.5], 0.9).low)
    # A ratio whose lower part is constant has the interval of its upper part.
    ratio = ratio_over_seeds(values, np.full(4, 0.5), 0.9)
    assert (ratio.value, ratio.low) == pytest.approx((2 * found.value, 2 * found.low))
    assert np.isnan(ratio_over_seeds(values, np.full(4, 0.001), 0.9).value)


def test_sizes_double():
    assert sizes(640) == [40, 80, 160, 320, 640]


def test_a_stronger_penalty_uses_fewer_dimensions():
    features = np.random.default_rng(0).normal(size=(500, 20)) * np.arange(1, 21)
    found = [used_dimensions(features, l2, 100) for l2 in (1e-6, 0.1, 1.0, 100.0)]
    assert found[0] == 20
    assert found == sorted(found, reverse=True)
    assert found[-1] == 1
    assert used_dimensions(features, 1e-6, 7) == 7


def test_a_selection_is_beside_random_items_and_the_densest_sources():
    made = known_types()
    pool = np.flatnonzero(made.splits == "pool")
    rng = np.random.default_rng(0)
    # The one source has all the points that the weak model is sure of.
    sure = np.abs(made.weak_proba[:, 0] - 0.5) > 0.4
    sources = np.where(sure, "sure", "unsure")
    bought = np.array_split(rng.permutation(pool[~sure[pool]])[:150], 3)
    made = World(**{**vars(made), "sources": sources, "rounds": tuple(bought)})
    result = sweep(made, SweepOptions("rounds", draws=2), seeds=2)
    assert [p.x for p in result["items of the selection"].points] == [50, 100, 150]
    # The selection has no draw, so that seeds say nothing of an interval.
    assert all(np.isnan(p.value.low) for p in result["items of the selection"].points)
    assert result.facts["selection minus random"].value < 0  # labels of the unsure are worse
    assert result.facts["oracle minus random"].value > 0
