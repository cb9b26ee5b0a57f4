"""`measure_gain`: numbers against hand computations, resumption, failures, bad input."""

from __future__ import annotations

import dataclasses
import functools
import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest

from w2s_data import finetune
from w2s_data.errors import (
    DegenerateDataWarning,
    EmptyDataError,
    InputError,
    ProbabilityError,
    RunError,
    SplitError,
)
from w2s_data.finetune import measure_gain
from w2s_data.finetune.gain import training as gain_training
from w2s_data.finetune.gain.data import check_gain_data
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.methods.registry import make_method
from w2s_data.finetune.objectives import TrainingError
from w2s_data.utils.io import jsonable

N = {"labelled": 40, "pool": 300, "test": 400, "validation": 60}
FAST = {
    "l2": 1e-3,
    "epochs": 30,
    "learning_rate": 1e-2,
    "n_resamples": 100,
    "progress": False,
    "device": "cpu",
}


@dataclasses.dataclass
class World:
    """A linear task of three classes with a noisy teacher."""

    features: np.ndarray
    weak: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    groups: np.ndarray

    def measure(self, *methods, **changes):
        given = {"features": self.features, "weak_proba": self.weak, "labels": self.labels}
        given |= {"splits": self.splits, **FAST}
        given |= {"methods": methods or ("naive",), "seeds": 2, "controls": False, **changes}
        return measure_gain(**given)


def make_world(seed=0, n_teachers=None, noise=1.5):
    rng = np.random.default_rng(seed)
    n = sum(N.values())
    features = rng.normal(size=(n, 6))
    logits = 2 * features @ rng.normal(size=(6, 3))
    shape = (n, n_teachers, 3) if n_teachers else (n, 3)
    base = logits[:, None] if n_teachers else logits
    weak = np.exp(base + 2 * noise * rng.normal(size=shape))
    return World(
        features,
        weak / weak.sum(axis=-1, keepdims=True),
        logits.argmax(axis=1),
        rng.permutation(np.repeat(list(N), list(N.values()))),
        rng.choice(["short", "long"], n, p=[0.8, 0.2]),
    )


@pytest.fixture(scope="module")
def world():
    return make_world()


@pytest.fixture(scope="module")
def result(world):
    return world.measure("naive", "confidence", "enhanced", controls=True, groups=world.groups)


def test_gain_pgr_and_opr_follow_from_the_seeds(world, result):
    frame = result.to_frame()
    test = world.splits == "test"
    teacher = (world.weak[test].argmax(axis=1) == world.labels[test]).mean()
    assert result.teacher.scores["accuracy"].value == pytest.approx(teacher)
    mean = frame.groupby(["role", "student", "control_of"])["accuracy"].mean()
    ceiling, labelled = mean["ceiling"].item(), mean["labelled_only"].item()
    for student in result.students:
        role = "control" if student.control_of else "method"
        accuracy = mean[role, student.name, student.control_of]
        assert student.scores["accuracy"].value == pytest.approx(accuracy)
        assert student.gain.value == pytest.approx(accuracy - teacher)
        assert student.pgr.value == pytest.approx((accuracy - teacher) / (ceiling - teacher))
        assert student.opr.value == pytest.approx((1 - labelled) / (1 - accuracy))
    assert result["naive"].gain.low > 0


def test_intervals_hold_their_value_and_groups_their_worst(result):
    for student in result.students:
        found = [*student.scores.values(), *student.gains.values(), *student.groups.values()]
        for number in [*found, student.pgr, student.opr]:
            assert number.low <= number.value <= number.high
        worst = student.scores["worst_group"].value
        assert worst <= min(m.value for m in student.groups.values()) + 1e-9
        assert set(student.groups) == {"long", "short"}


def test_students_are_ranked_and_controls_follow_their_method(result):
    methods = [s for s in result.students if not s.control_of]
    gains = [s.gain.value for s in methods]
    assert gains == sorted(gains, reverse=True)
    assert len(result.comparisons) == 3
    owner = ""
    for student in result.students:
        owner = student.name if not student.control_of else owner
        assert student.control_of in ("", owner)
        assert bool(student.rank_group) != bool(student.control_of)
    for pair in result.comparisons:
        shared = set(result[pair.first].rank_group) & set(result[pair.second].rank_group)
        assert bool(shared) != pair.difference.differs_from_zero


def test_the_best_control_is_shown_beside_its_method(result):
    own = [s for s in result.students if s.control_of == "enhanced"]
    best = max(s.scores["accuracy"].value for s in own)
    assert result.best_control("enhanced").scores["accuracy"].value == best
    assert result.best_control("naive") is None
    assert f"over {result.best_control('enhanced').name}" in repr(result)


def test_a_control_is_behind_by_its_lead(result):
    for student in result.students:
        if student.control_of:
            method = result[student.control_of].scores["accuracy"].value
            behind = method - student.scores["accuracy"].value
            assert student.lead.value == pytest.approx(behind)


def test_the_vote_is_compared_with_the_advised_option(result):
    accuracy = {option.name: option.accuracy.value for option in result.options}
    vote = result.vote.scores["accuracy"].value
    lead = result.vote_lead
    assert lead.value == pytest.approx(vote - accuracy[result.advised])
    assert lead.low < lead.value < lead.high


def test_tables_and_dictionaries(result):
    table = result.table()
    assert len(table) == len(result.students)
    limits = table[["gain_low", "gain", "gain_high"]].to_numpy()
    assert (np.diff(limits, axis=1) >= 0).all()
    frame = result.to_frame()
    rows = 2 + 2 * (2 + len(result.students))  # of teacher and vote, then by seed
    assert len(frame) == rows
    assert set(frame["role"]) == {
        "teacher",
        "vote",
        "ceiling",
        "labelled_only",
        "method",
        "control",
    }
    read = json.loads(json.dumps(jsonable(result.to_dict()), allow_nan=False))
    assert read["students"][0]["name"] == result.students[0].name
    assert "by_seed" not in read
    shown = repr(result)
    assert len(shown.splitlines()) < 25
    assert max(map(len, shown.splitlines())) <= 200
    for name in ("naive", "confidence", "enhanced", "teacher", "ceiling"):
        assert name in shown


def test_frame_is_parquet(result, tmp_path):
    result.to_frame().to_parquet(tmp_path / "gain.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "gain.parquet"), result.to_frame())


def test_the_ceiling_is_the_student_of_the_pools_gold_labels(world, result):
    pool, test = world.splits == "pool", world.splits == "test"
    student = finetune.fit_student(
        make_method("naive", hard=True),
        world.features[pool],
        np.eye(3)[world.labels[pool]],
        seeds=2,
        random_state=0,
        **{name: FAST[name] for name in ("epochs", "learning_rate", "device", "progress")},
    )
    proba = student.seed_proba(world.features[test])
    expected = (proba.argmax(axis=2) == world.labels[test]).mean()
    assert result.ceiling.scores["accuracy"].value == pytest.approx(expected)


def test_accuracies_no_better_than_a_constant_are_called_so(world, result):
    said = "no option is right more often than naming"
    assert not any(said in warning for warning in result.warnings)
    # Nineteen of twenty rows are of one class, which neither weak nor strong features know.
    labels = np.where(np.arange(len(world.labels)) % 20 > 0, 0, world.labels)
    skewed = world.measure("naive", labels=labels)
    (warning,) = (warning for warning in skewed.warnings if said in warning)
    share = (labels[world.splits == "test"] == 0).mean()
    assert f"naming '0' for every item, which is right on {share:.1%} of the test items" in warning


def test_gold_labels_of_the_pool_reach_no_student_but_the_ceiling(world, result):
    hidden = np.where(world.splits == "pool", -1, world.labels)
    blind = world.measure("naive", labels=hidden)
    assert blind["naive"].gain.value == result["naive"].gain.value
    assert "no row of the pool split has a gold label" in blind.ceiling.reason
    assert np.isnan(blind["naive"].pgr.value)
    assert "without a ceiling" in blind["naive"].pgr.reason
    assert "pgr is not defined" in repr(blind)
    assert blind["naive"].opr.value > 0


def test_no_labelled_rows_no_outperforming_ratio(world):
    splits = np.where(world.splits == "labelled", "validation", world.splits)
    found = world.measure("naive", splits=splits)
    assert np.isnan(found["naive"].opr.value)
    assert "no row is in the labelled split" in found["naive"].opr.reason


def test_pgr_of_a_teacher_as_good_as_the_ceiling_is_not_defined(world):
    found = world.measure("naive", weak_proba=np.eye(3)[world.labels])
    assert np.isnan(found["naive"].pgr.value)
    assert "interval above 0" in found["naive"].pgr.reason


def test_opr_of_a_student_without_errors_is_not_defined(world):
    labels = (world.features[:, 0] > 0).astype(int)
    features = np.column_stack([10 * np.sign(world.features[:, 0])] * 2)
    found = world.measure("naive", features=features, weak_proba=np.eye(2)[labels], labels=labels)
    assert found["naive"].scores["accuracy"].value == 1
    assert "not clearly above 0" in found["naive"].opr.reason


def test_same_seed_same_result_and_one_seed_alone(world, result):
    again = world.measure("naive", "confidence", "enhanced", controls=True, groups=world.groups)
    pd.testing.assert_frame_equal(result.to_frame(), again.to_frame())
    alone = world.measure("naive", seeds=[1]).to_frame()
    frame = result.to_frame()
    of_both = frame[(frame["student"] == "naive") & (frame["role"] == "method")]
    assert alone[alone["role"] == "method"]["accuracy"].item() == pytest.approx(
        of_both["accuracy"].iloc[1], abs=1 / N["test"]
    )


def test_one_seed_says_nothing_about_seeds(world):
    found = world.measure("naive", seeds=1)["naive"].gain
    assert np.isnan(found.se_seeds)
    assert found.se_items > 0


def test_rows_in_another_order_give_the_same_scores_of_teachers(world):
    order = np.random.default_rng(1).permutation(len(world.labels))
    moved = world.measure(
        features=world.features[order],
        weak_proba=world.weak[order],
        labels=world.labels[order],
        splits=world.splits[order],
    )
    kept = world.measure()
    for metric, score in kept.teacher.scores.items():
        assert moved.teacher.scores[metric].value == pytest.approx(score.value)


def test_several_teachers_are_listed_and_their_mean_is_the_teacher():
    world = make_world(n_teachers=3)
    found = world.measure("naive", "raven")
    assert [t.name for t in found.teachers] == ["teacher 0", "teacher 1", "teacher 2"]
    test = world.splits == "test"
    mean = world.weak[test].mean(axis=1).argmax(axis=1)
    assert found.teacher.scores["accuracy"].value == pytest.approx(
        (mean == world.labels[test]).mean()
    )
    assert not found.failures


def test_names_of_classes_and_hard_labels(world):
    names = np.array(["a", "b", "c"])
    labels = names[world.labels].astype(object)
    labels[(world.splits == "validation").nonzero()[0][:3]] = None
    found = world.measure(labels=labels, class_names=names)
    assert found.class_names == ("a", "b", "c")
    hard = world.measure(
        weak_proba=names[world.weak.argmax(axis=1)], labels=labels, class_names=names
    )
    assert hard.teacher.scores["accuracy"].value == found.teacher.scores["accuracy"].value


def test_variants_of_one_method_have_names_of_their_own(world):
    hard = make_method("naive", hard=True)
    found = world.measure(methods={"soft": "naive", "hard": hard})
    assert {s.name for s in found.students} == {"soft", "hard"}


def test_early_stopping_reads_the_validation_rows_only(world, monkeypatch):
    asked = []
    fit = gain_training.fit_student

    @functools.wraps(fit)
    def listening(*args, **kwargs):
        asked.append(kwargs.get("validation"))
        return fit(*args, **kwargs)

    monkeypatch.setattr(gain_training, "fit_student", listening)
    world.measure()
    assert asked == [None] * 3
    world.measure(early_stopping=True)
    rows = np.flatnonzero(world.splits == "validation")
    for features, labels in asked[3:]:
        np.testing.assert_array_equal(features.rows, rows)
        # As distributions: codes would be read as names where classes have names.
        np.testing.assert_array_equal(labels, np.eye(3)[world.labels[rows]])


# A forecast beside the measurement


@pytest.mark.parametrize("kind", ["mapping", "object"])
def test_forecast_is_held_against_the_naive_student(world, kind):
    from w2s_data.utils.intervals import Estimate

    gain = {"value": 0.5, "low": 0.4, "high": 0.6}
    forecast = {"gain": gain} if kind == "mapping" else type("F", (), {"gain": Estimate(**gain)})()
    found = world.measure("confidence", "naive", forecast=forecast)
    assert found.forecast.student == "naive"
    assert found.forecast.measured == found["naive"].gain.value
    assert found.forecast.inside is False
    assert "outside the interval" in repr(found)
    without = world.measure("confidence", forecast=forecast)
    assert without.forecast.inside is None
    assert "no naive student" in repr(without)


@pytest.mark.parametrize("forecast", [0.1, {"gain": 0.1}, {"gains": {}}, {"gain": {"value": 1}}])
def test_what_is_no_forecast(world, forecast):
    with pytest.raises(InputError, match="forecast must be"):
        world.measure(forecast=forecast)


# Failures: the others keep their results


@dataclasses.dataclass(frozen=True)
class Diverging(Method):
    name = "diverging"

    def fit(self, task):  # noqa: ARG002
        raise TrainingError(f"{self.name}, student: the loss is not finite from step 7 on")


def test_a_diverging_method_is_reported_and_the_others_are_kept(world):
    found = world.measure(methods=["naive", Diverging()])
    assert found.failures == {
        "diverging": "diverging, student: the loss is not finite from step 7 on"
    }
    assert [s.name for s in found.students] == ["naive"]
    assert "failed: diverging" in repr(found)
    with pytest.raises(KeyError, match="not finite"):
        found["diverging"]


def test_a_loss_that_really_diverges_names_method_and_step(world, monkeypatch):
    # A rate that diverges for certain is refused with the settings.
    monkeypatch.setattr("w2s_data.finetune.settings.check_parameters", lambda *_: None)
    found = world.measure("naive", "bayes", learning_rate=1e37)
    assert set(found.failures) == {"naive", "bayes"}
    for name, reason in found.failures.items():
        assert name in reason
        assert "step" in reason
    assert "not finite" in found.ceiling.reason
    assert found.reading == "no method has a result"
    assert len(found.table()) == 0
    assert list(found.to_frame()["role"]) == ["teacher", "vote"]


@dataclasses.dataclass(frozen=True)
class KeepsNothing(Method):
    name = "keeps nothing"

    def fit(self, task):
        nothing = np.zeros((task.n_seeds, task.pool.n_rows), dtype=bool)
        return make_method("naive").fit(task) if nothing.any() else task.train(None, rows=nothing)


def test_an_empty_kept_subset_is_a_failure_of_that_method(world):
    found = world.measure(methods=["naive", KeepsNothing()])
    assert "no pool row with a positive weight" in found.failures["keeps nothing"]
    assert found["naive"].gain.value > 0


def test_equal_pseudo_labels_warn_once_and_are_noted(world):
    weak = np.tile([0.6, 0.3, 0.1], (len(world.labels), 1))
    with pytest.warns(DegenerateDataWarning, match="every pseudo-label") as caught:
        found = world.measure("naive", "confidence", weak_proba=weak)
    assert len(caught) == 1
    assert len(found.warnings) == 1
    assert "warning: every pseudo-label" in repr(found)


def test_a_class_that_the_teacher_never_predicts_is_legal(world):
    weak = world.weak * [1, 1, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = world.measure("naive", weak_proba=weak / weak.sum(axis=1, keepdims=True))
    assert np.isfinite(found["naive"].gain.value)
    assert found["naive"].scores["macro_f1"].value < found.ceiling.scores["macro_f1"].value


def test_a_single_teacher_given_to_a_method_for_several(world):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = world.measure("naive", "raven", "cosupervised")
    assert "naive" in {s.name for s in found.students}
    assert {s.name for s in found.students} | set(found.failures) == {
        *("naive", "raven", "cosupervised")
    }


# Checkpoints


class Killed(Exception):
    pass


def counting(monkeypatch, stop_after=None):
    """Count the calls of `fit_student` as (method, seeds), and be killed after some."""
    calls = []
    fit = gain_training.fit_student

    @functools.wraps(fit)
    def counted(method, *args, **kwargs):
        if stop_after is not None and len(calls) == stop_after:
            raise Killed
        calls.append((method.name, tuple(kwargs["seeds"])))
        return fit(method, *args, **kwargs)

    monkeypatch.setattr(gain_training, "fit_student", counted)
    return calls


def test_a_killed_measurement_goes_on(world, tmp_path, monkeypatch):
    methods = ("naive", "confidence")
    whole = world.measure(*methods)
    with monkeypatch.context() as patch:
        counting(patch, stop_after=3)  # ceiling, labelled_only, naive
        with pytest.raises(Killed):
            world.measure(*methods, checkpoint=tmp_path / "gain")
    calls = counting(monkeypatch)
    resumed = world.measure(*methods, checkpoint=tmp_path / "gain")
    assert calls == [("confidence", (0, 1))]
    pd.testing.assert_frame_equal(whole.to_frame(), resumed.to_frame())
    assert repr(whole) == repr(resumed)


def test_more_methods_and_seeds_train_only_what_is_new(world, tmp_path, monkeypatch):
    world.measure("naive", checkpoint=tmp_path)
    calls = counting(monkeypatch)
    world.measure("naive", "vsup", seeds=3, checkpoint=tmp_path)
    references = [("labelled_only", (2,))] * 2  # the ceiling is one of the pool
    assert calls == [*references, ("naive", (2,)), ("vsup", (0, 1, 2))]
    calls.clear()
    world.measure("naive", seeds=1, checkpoint=tmp_path)
    assert calls == []


def test_a_failed_method_is_tried_again(world, tmp_path, monkeypatch):
    world.measure(methods=["naive", Diverging()], checkpoint=tmp_path)
    calls = counting(monkeypatch)
    world.measure(methods=["naive", Diverging()], checkpoint=tmp_path)
    assert calls == [("diverging", (0, 1))]


@pytest.fixture(scope="module")
def stored(world, tmp_path_factory):
    """A checkpoint of the naive method."""
    folder = tmp_path_factory.mktemp("stored")
    world.measure(checkpoint=folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"epochs": 11}, "epochs was 30, now 11"),
        ({"random_state": 1}, "random_state was 0, now 1"),
        ({"controls": True}, "controls"),
        ({"early_stopping": True}, "early_stopping"),
        ({"groups": "groups"}, "groups"),
        ({"weak_proba": "other"}, "weak_proba"),
        ({"features": "other"}, "inputs"),
        ({"labels": "other"}, "labels"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(world, stored, changes, what):
    other = make_world(seed=1)
    given = {
        "groups": world.groups,
        "weak_proba": other.weak,
        "features": other.features,
        "labels": other.labels,
    }
    changes = {k: given[k] if v in ("groups", "other") else v for k, v in changes.items()}
    with pytest.raises(RunError, match=f"of another configuration: {what}"):
        world.measure(checkpoint=stored, **changes)


def test_without_resume_the_folder_starts_over(world, tmp_path, monkeypatch):
    world.measure(checkpoint=tmp_path)
    world.measure(checkpoint=tmp_path, resume=False, epochs=11)
    calls = counting(monkeypatch)
    world.measure(checkpoint=tmp_path, epochs=11)
    assert calls == []


def test_a_method_of_other_parameters_is_refused_under_the_same_name(world, stored):
    with pytest.raises(RunError, match="'naive' trained as"):
        world.measure(make_method("naive", hard=True), checkpoint=stored)


def test_other_files_and_damaged_ones(world, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="holds other files"):
        world.measure(checkpoint=tmp_path, resume=False)
    assert (tmp_path / "thesis.tex").exists()
    folder = tmp_path / "gain"
    world.measure(checkpoint=folder)
    file = next(folder.glob("naive-*-seed0.safetensors"))
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(RunError, match="delete it"):
        world.measure(checkpoint=folder)


def test_a_checkpoint_needs_a_seed(world, tmp_path):
    for random_state in (None, np.random.default_rng(0)):
        with pytest.raises(InputError, match="needs an int as random_state"):
            world.measure(checkpoint=tmp_path, random_state=random_state)


@pytest.mark.slow
def test_an_engine_trains_the_same_students(world, tmp_path):
    from w2s_data.compute.base import LocalEngine

    class Elsewhere(LocalEngine):
        name = "elsewhere"

    here = world.measure("naive", Diverging())
    there = world.measure("naive", Diverging(), checkpoint=tmp_path, engine=Elsewhere())
    assert there.failures == here.failures
    pd.testing.assert_frame_equal(here.to_frame(), there.to_frame(), atol=2 / N["test"])
    with pytest.raises(InputError, match="stores finished students: pass checkpoint"):
        world.measure("naive", engine=Elsewhere())


@pytest.mark.slow
def test_a_penalty_is_chosen_once_for_the_same_labels_on_an_engine_too(
    world, tmp_path, monkeypatch
):
    from w2s_data.compute.base import LocalEngine
    from w2s_data.finetune.levels import head

    class Elsewhere(LocalEngine):
        name = "elsewhere"

        def run(self, job):
            # Workers have a state of their own: what a task notes there is lost.
            for number, block in enumerate(job.blocks):
                yield number, job.work(pickle.loads(pickle.dumps(job.state)), block, job.advance)

    chosen = []

    def counted(*args, **options):
        chosen.append(head_choice(*args, **options))
        return chosen[-1]

    head_choice = head.choose_penalty
    monkeypatch.setattr(head, "choose_penalty", counted)
    methods = ("naive", "confidence", "stacked")
    here = world.measure(*methods, checkpoint=tmp_path / "a", l2=None)
    local = sorted(chosen)
    assert len(local) == 3  # the ceiling, labelled_only, and all that learn weak labels
    chosen.clear()
    there = world.measure(*methods, checkpoint=tmp_path / "b", engine=Elsewhere(), l2=None)
    assert sorted(chosen) == local
    assert here.penalties == there.penalties
    for file in (tmp_path / "a").glob("*.safetensors"):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


# Bad input


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"methods": ["naiv"]}, InputError, "did you mean 'naive'"),
        ({"methods": ["naive", "naive"]}, InputError, "given twice"),
        ({"methods": []}, InputError, "no methods"),
        ({"methods": {"ceiling": "naive"}}, InputError, "other than"),
        ({"tuning": "haed"}, InputError, "did you mean 'head'"),
        ({"tuning": "lora"}, InputError, "pass model"),
        ({"tuning": "lora", "model": "m"}, InputError, "trains on items"),
        ({"features": None}, InputError, "trains on features"),
        ({"items": ["a"]}, InputError, "one of them"),
        ({"epoch": 3}, InputError, "did you mean 'epochs'"),
        ({"epochs": -1}, InputError, "epochs"),
        ({"seeds": 0}, InputError, "seeds must be a number"),
        ({"seeds": [1, 1]}, InputError, "different integers"),
        ({"level": 95}, InputError, "level must lie"),
        ({"n_resamples": 5}, InputError, "at least 100"),
        ({"labels": np.zeros(3, int)}, InputError, "labels has 3"),
        ({"labels": np.full(sum(N.values()), 7)}, InputError, "codes from 0 to 2"),
        ({"labels": np.full(sum(N.values()), "a")}, InputError, "pass class_names"),
        ({"splits": np.full(sum(N.values()), "pool")}, EmptyDataError, "in the test split"),
        ({"splits": np.full(sum(N.values()), "test")}, EmptyDataError, "in the pool split"),
        ({"splits": np.full(sum(N.values()), "held out")}, SplitError, "holds 'held out'"),
        ({"labels": np.full(sum(N.values()), -1)}, SplitError, "of the test split have no label"),
        ({"weak_proba": np.full((sum(N.values()), 3), np.nan)}, ProbabilityError, "NaN"),
    ],
)
def test_bad_input(world, changes, error, message):
    with pytest.raises(error, match=message):
        world.measure(**changes)


def test_teachers_that_disagree_in_classes(world):
    two = world.weak[:, :2] / world.weak[:, :2].sum(axis=1, keepdims=True)
    with pytest.raises(InputError, match="teacher 1 has 2 classes"):
        world.measure(weak_proba=[world.weak, two])


def test_a_label_that_is_no_class(world):
    labels = np.array(["a", "b", "c"])[world.labels].astype(object)
    labels[5] = "d"
    with pytest.raises(InputError, match="labels, row 5: there is no class 'd'"):
        world.measure(labels=labels, class_names=["a", "b", "c"])


def test_early_stopping_needs_validation_rows(world):
    splits = np.where(world.splits == "validation", "pool", world.splits)
    with pytest.raises(InputError, match="early_stopping needs rows"):
        world.measure(splits=splits, early_stopping=True)


@pytest.mark.parametrize(
    "spelled",
    [
        lambda codes: np.where(codes < 0, np.nan, codes.astype(float)),
        lambda codes: np.array([None if c < 0 else c for c in codes], dtype=object),
        lambda codes: np.array([None if c < 0 else bool(c) for c in codes], dtype=object),
    ],
    ids=["floats", "objects", "truths"],
)
def test_codes_of_which_pandas_made_something_else_are_codes(spelled):
    codes = np.array([0, 1, -1, 0, 1])
    splits = ["labelled", "labelled", "pool", "test", "test"]
    weak = np.full((5, 2), 0.5)
    given = {"items": None, "groups": None, "class_names": None}
    data = check_gain_data(np.eye(5), weak, spelled(codes), splits, **given)
    assert data.labels.tolist() == codes.tolist()
