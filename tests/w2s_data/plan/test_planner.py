"""Plans on worlds whose answer is known."""

import numpy as np
import pytest

from w2s_data.errors import EmptyDataError, FeatureError, InputError
from w2s_data.plan import LabelPlanner


def world(n=100, n_pool=600, weak_right=0.65, seed=0, informative=True):
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n + n_pool)
    strong = rng.normal(size=(n + n_pool, 30))
    strong[:, 0] += 2.5 * y * informative
    weak = np.where(rng.random(n + n_pool) < weak_right, y, 1 - y)
    proba = np.where(np.eye(2)[weak] > 0, 0.65, 0.35)
    return strong[n:], proba[n:], (strong[:n], proba[:n], y[:n])


@pytest.fixture(scope="module")
def planner():
    strong, weak, gold = world()
    return LabelPlanner(repeats=2, random_state=0).fit(strong, weak, gold=gold)


def test_accuracies_are_near_those_of_the_world(planner):
    # Two normals 2.5 apart: at best 89 %, of which 30 dimensions and few labels cost some.
    for option, low in (("gold", 0.7), ("both", 0.78)):
        assert low < planner.accuracies_[option].value < 0.91
    assert set(planner.to_frame()["option"]) == {"gold", "weak", "both"}


def test_the_same_seed_gives_the_same_plan():
    strong, weak, gold = world(n=40, n_pool=200)
    plans = [
        LabelPlanner(repeats=1, random_state=3).fit(strong, weak, gold=gold).plan(50, 0.5, 0.01)
        for _ in range(2)
    ]
    assert plans[0].to_dict() == plans[1].to_dict()


def test_the_budget_is_kept_and_goes_to_what_helps(planner):
    plan = planner.plan(50, gold_cost=0.5, weak_cost=0.5)
    assert 0 < plan.split.spent <= 50
    # At equal prices a gold label is worth more than a weak one that is right in 65 %.
    assert plan.exchange.value > 1
    assert plan.split.gold > plan.split.weak
    assert plan.split.gain.value >= max(p.gain.value for p in plan.purchases) - 1e-9


def test_forecasts_end_at_eight_times_the_present_size(planner):
    plan = planner.plan(1e6, gold_cost=0.5, weak_cost=0.5)
    assert plan.split.gold <= 7 * plan.n
    assert plan.split.weak <= 7 * plan.N
    assert plan.split.guess
    assert "guess" in plan.advice


def test_a_teacher_that_knows_all_is_worth_more_than_one_that_guesses():
    strong, weak, gold = world(n=60, n_pool=400)
    y = np.random.default_rng(0).integers(2, size=460)
    oracle = np.eye(2)[y] * 0.98 + 0.01
    guess = np.full((460, 2), 0.5)
    teachers = {"oracle": (oracle[60:], oracle[:60]), "guess": (guess[60:], guess[:60])}
    planner = LabelPlanner(repeats=2, random_state=0).fit(
        strong, weak, gold=gold, teachers=teachers
    )
    assert planner.leads_["oracle"].value > 0.02 > planner.leads_["guess"].value
    plan = planner.plan(10, 0.5, 0.1, prices={"oracle": 5.0})
    assert "oracle" in plan.advice


def test_the_same_student_has_no_lead():
    strong, weak, gold = world(n=40, n_pool=200)
    planner = LabelPlanner(repeats=1, random_state=0).fit(
        strong, weak, gold=gold, students={"same": (strong, gold[0])}
    )
    assert planner.leads_["same"].value == 0


def test_features_that_say_nothing_gain_nothing_much():
    strong, weak, gold = world(informative=False, weak_right=0.5)
    plan = LabelPlanner(repeats=2, random_state=0).fit(strong, weak, gold=gold).plan(100, 0.5, 0.1)
    assert plan.now.low < 0.5 < plan.now.high + 0.1


def test_few_gold_rows_are_said():
    strong, weak, gold = world(n=20, n_pool=200)
    planner = LabelPlanner(repeats=1, random_state=0).fit(strong, weak, gold=gold)
    assert any("20 gold rows are too few" in note for note in planner.notes_)


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ((10, 0, 0.1), "gold_cost must be a price above 0; got 0"),
        ((10, 0.5, -1), "weak_cost must be a price above 0; got -1"),
        ((10, float("nan"), 0.1), "gold_cost"),
        (("50", 0.5, 0.1), "budget must pay for at least one label, which costs 0.1; got '50'"),
        ((50, None, 0.1), "gold_cost must be a price above 0; got None"),
        ((0.01, 0.5, 0.1), "budget must pay for at least one label, which costs 0.1; got 0.01"),
    ],
)
def test_bad_prices_are_refused(planner, prices, message):
    with pytest.raises(InputError, match=message):
        planner.plan(*prices)


def test_seven_gold_rows_are_refused():
    strong, weak, gold = world(n=7, n_pool=50)
    with pytest.raises(InputError, match="at least 8 gold rows of two classes; got 7"):
        LabelPlanner().fit(strong, weak, gold=gold)


def test_a_perfect_teacher_is_used_and_no_label_bought():
    strong, _, (gold, _, codes) = world(n=80, n_pool=300)
    rng = np.random.default_rng(1)
    pool_codes = rng.integers(2, size=300)
    perfect = (np.eye(2)[pool_codes], (gold, np.eye(2)[codes], codes))
    planner = LabelPlanner(repeats=1, random_state=0).fit(strong, perfect[0], gold=perfect[1])
    assert planner.teacher_.accuracy.value == 1
    plan = planner.plan(100, gold_cost=1, weak_cost=0.01)
    assert plan.buys == ""
    assert plan.advice.startswith("Keep the money and use the teacher: it is right on 100.0%")


def test_a_teacher_below_its_student_does_not_stop_purchases(planner):
    assert planner.teacher_.lead.value < 0
    assert planner.plan(50, gold_cost=0.5, weak_cost=0.5).buys == "labels"


def test_abstentions_of_the_teacher_count_as_guesses():
    strong, weak, (gold, _, codes) = world(n=40, n_pool=200)
    silent = np.full((40, 2), 0.5)
    planner = LabelPlanner(repeats=1, random_state=0).fit(strong, weak, gold=(gold, silent, codes))
    assert planner.teacher_.accuracy.value == 0.5


def test_more_of_a_constant_label_is_worth_nothing():
    strong, weak, (gold, _, codes) = world()
    same = np.tile([0.9, 0.1], (len(weak), 1))
    planner = LabelPlanner(repeats=1, random_state=0).fit(
        strong, same, gold=(gold, same[: len(gold)], codes)
    )
    plan = planner.plan(100, gold_cost=1, weak_cost=0.01)
    assert plan.split.weak == 0
    assert plan.purchases[1].gain.value == 0
    assert any("same for every row" in note for note in plan.warnings)


STRONG, WEAK, GOLD = world(n=40, n_pool=200)
ON_GOLD, NO_NUMBERS = GOLD[1], np.full((200, 30), np.nan)


def short():
    return LabelPlanner(repeats=1, random_state=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((np.r_[WEAK, WEAK], ON_GOLD), "200 rows, weak_proba of other has 400"),
        ((ON_GOLD, WEAK), "200 rows, weak_proba of other has 40"),
        ((WEAK, WEAK), "40 rows, gold weak_proba of other has 200"),
        ((np.full((200, 3), 1 / 3), ON_GOLD), "1 teachers and 3 classes"),
        ((np.stack([WEAK, WEAK], axis=1), ON_GOLD), "the pool 2 and 2"),
        ((WEAK * np.nan, ON_GOLD), "weak_proba of other has NaN"),
        ((WEAK,), r"teacher 'other' must be \(weak_proba of the pool"),
        ((WEAK, ON_GOLD, lambda _: (WEAK, ON_GOLD)), "40 rows, gold weak_proba of relabel has 200"),
        ((WEAK, ON_GOLD, lambda _: None), "relabel must return two arrays"),
    ],
)
def test_other_teachers_that_do_not_fit_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        short().fit(STRONG, WEAK, gold=GOLD, teachers={"other": given})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((np.r_[STRONG, STRONG], GOLD[0]), "200 pool rows, strong features of other have 400"),
        ((STRONG, STRONG), "40 gold rows, strong features of other have 200"),
        ((STRONG, GOLD[0][:, :3]), "3 columns on gold rows, 30 in the pool"),
        ((NO_NUMBERS, GOLD[0]), "strong features of other have NaN"),
        ((STRONG, NO_NUMBERS[:40]), "gold strong features of other have NaN"),
        (STRONG, r"student 'other' must be \(strong features of the pool"),
    ],
)
def test_other_students_that_do_not_fit_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        short().fit(STRONG, WEAK, gold=GOLD, students={"other": given})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": (0, 0)}, "the number of gold rows in sizes must be an integer >= 1; got 0"),
        ({"sizes": (50, -1)}, "the number of pool rows in sizes must be an integer >= 1; got -1"),
        ({"sizes": (5,)}, "sizes must be the numbers of gold and of pool rows"),
        ({"earlier": [{}]}, "plan 0 of earlier lacks 'n', 'N', 'option'"),
        ({"earlier": {"n": 1}}, "earlier must be a list of plans"),
        ({"relabel": lambda _: None}, "relabel must return two arrays"),
    ],
)
def test_options_of_a_fit_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        short().fit(STRONG, WEAK, gold=GOLD, **options)


def test_a_pool_without_rows_or_numbers_is_refused():
    with pytest.raises(EmptyDataError, match="the pool has no rows"):
        short().fit(STRONG[:0], WEAK[:0], gold=GOLD)
    with pytest.raises(FeatureError, match="strong_features have NaN"):
        short().fit(NO_NUMBERS, WEAK, gold=GOLD)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 400), "n must be an integer >= 1; got 0"),
        ((100, -5), "N must be an integer >= 1; got -5"),
        ((100, 400, "bth"), "there is no option 'bth'; did you mean 'both'"),
    ],
)
def test_forecasts_for_no_rows_and_unknown_options_are_refused(planner, sizes, message):
    with pytest.raises(InputError, match=message):
        planner.forecast(*sizes)


def test_prices_of_models_that_do_not_exist_are_refused():
    alone = short().fit(STRONG, WEAK, gold=GOLD)
    with pytest.raises(InputError, match="prices name 'oracle', and `fit` was given no other"):
        alone.plan(50, 0.5, 0.1, prices={"oracle": 3})
    several = short().fit(STRONG, WEAK, gold=GOLD, teachers={"oracle": (WEAK, ON_GOLD)})
    with pytest.raises(InputError, match="no teacher or student 'orcale'; did you mean 'oracle'"):
        several.plan(50, 0.5, 0.1, prices={"orcale": 3})
    with pytest.raises(InputError, match="the price of 'oracle' must be a number >= 0 or None"):
        several.plan(50, 0.5, 0.1, prices={"oracle": -3})


def test_accuracies_stay_between_0_and_1_on_the_whole_way():
    strong, weak, (gold, proba, codes) = world(n=60, n_pool=300)
    strong, gold = strong.copy(), gold.copy()
    gold[:, 0] += 8 * codes  # next to no errors, of which luck would go below none
    planner = LabelPlanner(repeats=1, random_state=0).fit(strong, weak, gold=(gold, proba, codes))
    limits = [planner.forecast(10**6, 10**6, option) for option in planner.curves_]
    assert all(0 <= e.low <= e.value <= e.high <= 1 for e in limits)
    for row in planner.plan(500, 0.5, 0.1).path:
        shares = [row[name] for name in row if name not in ("spent", "gold", "weak")]
        assert 0 <= min(shares) <= max(shares) <= 1
