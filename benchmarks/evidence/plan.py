"""Are forecasts of `LabelPlanner` right, and does it name the better purchase?

36 tasks: five corpora with MiniLM's last or first layer as strong features, phrases of a sixth,
pairs of classes and one class against the rest, and scanned digits; 50, 100 or 200 gold labels, a
quarter of the pool. The truth comes from really adding labels: the same learners, trained on up to
four times as many of both, on up to 2,000 test items. Priors were chosen on the three corpora
`TUNED` with seeds 0 to 2. Run ``python benchmarks/evidence/plan.py``; what is measured is kept in
the cache, and ``--tables`` only prints the tables.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import load_corpus, minilm_features, parser
from scipy.interpolate import RegularGridInterpolator

from w2s_data import LabelPlanner, LinearProbe, TfidfEncoder
from w2s_data.forecast.posterior import kernel_features
from w2s_data.plan.advice import Market, Prices
from w2s_data.plan.curves import Curve, covariance_of, fit_curve
from w2s_data.plan.learners import PoolStudents, gold_view, joined
from w2s_data.plan.planner import FEW_GOLD

TUNED = ("ag_news_test", "trec", "sst2")
CORPORA = (*TUNED, "customer_reviews", "subj", "mpqa")
LARGEST = 6_000
QUESTIONS = {
    "ten": lambda digit: digit,
    "thirds": lambda digit: digit % 3,
    "even": lambda digit: digit % 2,
    "high": lambda digit: digit >= 5,
    "prime": lambda digit: np.isin(digit, (2, 3, 5, 7)),
    "round": lambda digit: np.isin(digit, (0, 6, 8, 9)),
}
SIZES, FACTORS = (50, 100, 200), (1, 2, 4)
MOST_GOLD, MOST_POOL, MOST_TEST = 800, 4000, 2000
BUDGETS = ((1.2, 4), (1.5, 4), (2, 2), (2, 4), (4, 4))  # all gold, or all weak labels
LEVEL = 0.9
BETTER = 0.01  # difference of two purchases that counts
OTHERS = ("teacher", "student")
COMPARED = 100  # gold rows at which other models are compared with labels


@dataclass(frozen=True)
class Task:
    """A corpus or digits; strong features; classes (two, one against the rest, or all)."""

    corpus: str
    strong: Any  # layer of MiniLM, or the question on digits
    classes: tuple[int, ...] = ()
    taught: int = 600  # rows that the teacher learned from

    @property
    def name(self) -> str:
        """Name of the task in tables and files."""
        classes = "".join(map(str, self.classes))
        return f"{self.corpus}-{self.strong}{'-' + classes if classes else ''}-{self.taught}"


def tasks() -> list[Task]:
    """Return the 36 tasks."""
    found = [Task(corpus, layer) for corpus in CORPORA for layer in (6, 0) if corpus != "mpqa"]
    found += [Task("mpqa", 6)] + [Task(corpus, 6, taught=100) for corpus in CORPORA]
    found += [Task("ag_news_test", 6, pair, 200) for pair in combinations(range(4), 2)]
    found += [Task("trec", 6, (own,), 300) for own in (0, 1, 3, 4)]
    found += [Task("ag_news_test", 6, (own,), 300) for own in (0, 2, 3)]
    return found + [Task("digits", q, taught=100) for q in QUESTIONS]


@dataclass(frozen=True)
class World:
    """Rows of one draw: strong features, labels, weak labels of two teachers, another student."""

    labels: np.ndarray
    strong: np.ndarray
    other_strong: np.ndarray
    said: np.ndarray  # (N, C)
    other_said: np.ndarray
    gold: np.ndarray  # row numbers, in the order in which they are bought
    pool: np.ndarray
    test: np.ndarray

    @property
    def n_pool(self) -> int:
        """Present pool: a quarter of what there is."""
        return len(self.pool) // 4


@cache
def _texts(name: str, layer: int, folder: Path) -> tuple[Any, np.ndarray]:
    corpus = load_corpus(name, LARGEST)
    return corpus, np.asarray(minilm_features(corpus, layer, folder), dtype=np.float64)


def make_world(task: Task, seed: int, folder: Path) -> World:
    """Draw the rows of a task; the teacher learned from rows that are used for nothing else."""
    rng = np.random.default_rng([seed, *task.name.encode()])
    if task.corpus == "digits":
        labels, sides, weak_of = _digits(str(task.strong))
    else:
        corpus, strong = _texts(task.corpus, task.strong, folder)
        other = (
            strong[:, :64]
            if task.corpus == "mpqa"
            else _texts(task.corpus, 6 - task.strong, folder)[1]
        )
        labels, rows = corpus.labels, np.arange(len(corpus))
        if len(task.classes) == 2:
            rows = np.flatnonzero(np.isin(labels, task.classes))
            labels = (labels[rows] == task.classes[1]).astype(int)
        elif task.classes:
            labels = (labels == task.classes[0]).astype(int)
        sides = strong[rows], other[rows]

        def weak_of(learned: np.ndarray) -> np.ndarray:
            encoder = TfidfEncoder(48).fit(corpus.text(rows[learned]))
            return encoder.encode(corpus.text(rows))

    taught = max(task.taught, 600 if task.corpus in CORPORA and not task.classes else 0)
    taught = min(taught, len(labels) // 5)
    most = MOST_GOLD if len(labels) > 1500 else 200
    parts = np.split(rng.permutation(len(labels)), np.cumsum([taught, most]))
    n_test = min(MOST_TEST, len(parts[2]) // 2)
    test, pool = parts[2][:n_test], parts[2][n_test:][:MOST_POOL]
    weak, classes = weak_of(np.concatenate([parts[0], pool])), np.eye(labels.max() + 1)

    def teach(n_rows: int) -> np.ndarray:
        own = parts[0][:n_rows]
        probe = LinearProbe(l2=100 / n_rows, device="cpu").fit(weak[own], classes[labels[own]])
        return probe.predict_proba(weak)

    # The other teacher knows more, or less, where the first one knows most.
    n_other = taught if task.taught < taught else max(30, task.taught // 6)
    said, other_said = teach(min(task.taught, taught)), teach(n_other)
    return World(labels, *sides, said, other_said, parts[1], pool, test)


def _digits(question: str) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], Any]:
    from sklearn.datasets import load_digits

    pixels, digit = load_digits(return_X_y=True)
    labels = QUESTIONS[question](digit).astype(int)
    rng = np.random.default_rng(7)
    random = (pixels - 8) / 64 @ rng.normal(size=(64, 256)) + 0.3 * rng.normal(size=256)
    weak = pixels.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(pixels), 16)
    return labels, (np.maximum(random, 0), pixels), lambda _: weak


def truths(world: World, others: bool = True) -> dict[str, float]:
    """Return accuracies at test by option and sizes, and those with the other models."""
    found: dict[str, float] = {}
    sides = {"": (world.strong, world.said)}
    if others:
        sides["teacher"] = world.strong, world.other_said
        sides["student"] = world.other_strong, world.said
    rows, classes = (
        np.concatenate([world.gold, world.test]),
        np.eye(world.labels.max() + 1),
    )
    codes, n_gold = world.labels[rows], len(world.gold)
    for side, (strong, said) in sides.items():
        gold, pool = kernel_features(strong[rows], strong[world.pool])
        students = PoolStudents(gold, pool)
        sizes = [n * f for n in SIZES for f in FACTORS] if not side else [COMPARED]
        for n in sorted({n for n in sizes if n <= n_gold}):
            own = np.arange(n)
            left_out, by_gold, by_pool = gold_view(gold, pool, own, codes, len(classes))
            scores = {f"gold{side},{n}": by_gold}
            for factor in FACTORS if not side else (1,):
                size = factor * world.n_pool
                weak = said[world.pool[:size]]
                by_weak, view = students.of_pool(weak)
                views = [said[rows[own]], left_out, by_weak[own]]
                target = joined([weak, by_pool[:size], view], views, codes[own])
                scores[f"weak{side},{factor}"] = by_weak
                scores[f"both{side},{n},{factor}"] = students.of_both(
                    target, own, classes[codes[own]]
                )
            for name, score in scores.items():
                right = score[n_gold:].argmax(axis=1) == codes[n_gold:]
                found[name] = float(right.mean())
    return found


def fit(world: World, n: int, seed: int) -> LabelPlanner:
    """Fit a planner to n gold rows and the present pool."""
    gold, pool = world.gold[:n], world.pool[: world.n_pool]
    planner = LabelPlanner(level=LEVEL, random_state=seed)
    others: dict[str, Any] = {}
    if n == COMPARED:
        others["teachers"] = {"teacher": (world.other_said[pool], world.other_said[gold])}
        others["students"] = {"student": (world.other_strong[pool], world.other_strong[gold])}
    return planner.fit(
        world.strong[pool],
        world.said[pool],
        gold=(world.strong[gold], world.said[gold], world.labels[gold]),
        **others,
        progress=False,
    )


def measure(task: Task, seed: int, folder: Path, planned: bool = True) -> dict[str, Any]:
    """Return truths and what planners measured, from the cache where they are known."""
    file = folder / "plan" / f"{task.name}-{seed}.json"
    if file.exists():
        return json.loads(file.read_text())  # type: ignore[no-any-return]
    world = make_world(task, seed, folder)
    found: dict[str, Any] = {"truth": truths(world, planned), "n_pool": world.n_pool}
    found["planners"] = {}
    for n in (n for n in SIZES if planned and n <= len(world.gold)):
        planner = fit(world, n, seed)
        found["planners"][n] = {
            "option": planner.option_,
            "leads": {name: lead.to_dict() for name, lead in planner.leads_.items()},
            "measured": {
                name: {
                    "sizes": m.sizes.tolist(),
                    "wrong": np.round(m.wrong, 3).tolist(),
                }
                for name, m in planner.measured_.items()
            },
        }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found))
    return found


STEPS = {  # multiples of the present gold and weak labels, by option
    "gold": ((2, 1), (4, 1)),
    "weak": ((1, 2), (1, 4)),
    "both": ((2, 1), (4, 1), (1, 2), (1, 4), (2, 2), (4, 4)),
}


def accuracy(truth: dict[str, float], option: str, n: int, factor: int) -> float:
    """Return the true accuracy of an option at n gold rows and a multiple of the pool."""
    keys = {"gold": f"gold,{n}", "weak": f"weak,{factor}", "both": f"both,{n},{factor}"}
    return truth.get(keys[option], np.nan)


def curve_of(found: dict[str, Any], n: str, option: str) -> Curve:
    """Fit the curve of an option, as a planner does, to what one has measured."""
    part = found["planners"][n]["measured"][option]
    wrong, present = np.array(part["wrong"]), (int(n), found["n_pool"])
    covariance = covariance_of(wrong) * max(1.0, FEW_GOLD / len(wrong))
    errors = (np.array(part["sizes"]), wrong.mean(axis=0), covariance)
    return fit_curve(option, *errors, present, np.random.default_rng(0))


def power_law(found: dict[str, Any], n: str, option: str, step: tuple[int, int]) -> float:
    """Return the gain by a power law without a floor, fitted by least squares to logarithms."""
    part = found["planners"][n]["measured"][option]
    sizes = np.log(np.array(part["sizes"]) / (int(n), found["n_pool"]))
    sides = {"gold": [0], "weak": [1], "both": [0, 1]}[option]
    errors = np.log(np.maximum(np.mean(part["wrong"], axis=0), 1e-3))
    design = np.column_stack([np.ones(len(errors)), sizes[:, sides]])
    level, *slopes = np.linalg.lstsq(design, errors, rcond=None)[0]
    return float(np.exp(level) * (1 - np.exp(np.dot(slopes, np.log(np.array(step))[sides]))))


def mean_luck(gains: list[float]) -> float:
    """Return the mean distance of a draw from the mean of others, NaN for a single one."""
    if len(gains) < 2:
        return np.nan
    # The own draw pulls the mean towards itself.
    distances = np.abs(np.array(gains) - np.mean(gains))
    return float(distances.mean() * np.sqrt(len(gains) / (len(gains) - 1)))


def draws_of(known: dict[tuple[str, int], dict[str, Any]], name: str) -> list[dict[str, float]]:
    """Return the truths of all draws of a task."""
    return [found["truth"] for (task, _), found in known.items() if task == name]


def forecasts(known: dict[tuple[str, int], dict[str, Any]]) -> pd.DataFrame:
    """Return one row per task, seed, size, option and step, with forecast and true gain."""
    rows = []
    for (name, seed), found in known.items():
        draws = draws_of(known, name)
        for n, option in ((n, o) for n in found["planners"] for o in STEPS):
            curve, now = (
                curve_of(found, n, option),
                accuracy(found["truth"], option, int(n), 1),
            )
            level = curve.accuracy(curve.n, curve.N, LEVEL)
            for gold, pool in STEPS[option]:
                true = accuracy(found["truth"], option, gold * int(n), pool) - now
                each = [
                    accuracy(t, option, gold * int(n), pool) - accuracy(t, option, int(n), 1)
                    for t in draws
                ]
                if np.isfinite(true):
                    ahead = gold * curve.n, pool * curve.N, LEVEL
                    gain = curve.gain(*ahead)
                    rows.append(
                        {"task": name, "seed": seed, "n": int(n), "option": option}
                        | {
                            "gold": gold,
                            "pool": pool,
                            "true": true,
                            "forecast": gain.value,
                        }
                        | {
                            "mean": np.mean(each),
                            "luck": mean_luck(each),
                        }
                        | {
                            "covered": gain.low <= true <= gain.high,
                            "width": gain.high - gain.low,
                        }
                        | {"level covered": level.low <= now <= level.high}
                        | {"power law": power_law(found, n, option, (gold, pool))}
                    )
    return pd.DataFrame(rows)


def errors_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean errors of gains: in a planner's own draw, and in the mean of all draws.

    `luck` is the spread of one draw around that mean, which nobody can forecast, beside no change.
    """
    rows = []
    for (option, gold, pool), part in table.groupby(["option", "gold", "pool"]):
        row: dict[str, Any] = {"trained on": option, "gold": f"x {gold}", "weak": f"x {pool}"}
        for truth, end in (("true", ""), ("mean", ", mean")):
            error = {n: (part[n] - part[truth]).abs().mean() for n in ("power law", "forecast")}
            no_change = part[truth].abs().mean()
            row |= {f"no change{end}": no_change} | {f"{n}{end}": e for n, e in error.items()}
            row[f"ratio{end}"] = error["forecast"] / no_change
        row["luck"] = part["luck"].mean() / part["true"].abs().mean()
        row["gain held"], row["level held"] = part["covered"].mean(), part["level covered"].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def purchases(known: dict[tuple[str, int], dict[str, Any]]) -> pd.DataFrame:
    """Return pairs of purchases of equal price, with both gains as forecast and in truth."""
    rows = []
    for (name, seed), found in known.items():
        truth = found["truth"]
        for n in found["planners"]:
            curve, now = curve_of(found, n, "both"), accuracy(truth, "both", int(n), 1)
            options: dict[str, tuple[float, float]] = {}
            for gold, pool in ((1.2, 1), (1.5, 1), (2, 1), (4, 1), (1, 2), (1, 4)):
                gain = curve.expected_gain(gold * curve.n, pool * curve.N, LEVEL).value
                label = f"gold x {gold}" if gold > 1 else f"weak x {pool}"
                # Between the sizes that were trained, linear in the logarithm.
                whole = 2 if gold < 2 else int(gold)
                part = np.log(gold) / np.log(whole) if gold > 1 else 1.0
                rise = accuracy(truth, "both", whole * int(n) if gold > 1 else int(n), pool) - now
                options[label] = gain, part * rise
            for other in OTHERS if int(n) == COMPARED else ():
                lead = found["planners"][n]["leads"][other]["value"]
                options[other] = lead, truth[f"both{other},{n},1"] - now
            for one, two in combinations(options, 2):
                if one[:4] == two[:4]:  # more or less of the same labels
                    continue
                (first, true_first), (second, true_second) = options[one], options[two]
                rows.append(
                    {
                        "task": name,
                        "seed": seed,
                        "n": int(n),
                        "kinds": f"{one[:4]} or {two[:4]}",
                    }
                    | {
                        "difference": true_first - true_second,
                        "forecast": first - second,
                    }
                )
    return pd.DataFrame(rows).dropna()


def regrets(known: dict[tuple[str, int], dict[str, Any]]) -> pd.DataFrame:
    """Return how much better the best split of a budget was than the advised one.

    A budget buys gold labels up to a multiple of the present ones, or weak ones, or some of both.
    The truth between the sizes that were trained is linear in their logarithms, and the mean of
    the seeds, since the best of many noisy splits would be a lucky one.
    """
    shares, rows = np.linspace(0, 1, 41), []
    for (name, seed), found in known.items():
        draws = draws_of(known, name)
        for n in found["planners"]:
            n_gold, n_pool = int(n), found["n_pool"]
            if n_gold * 4 > MOST_GOLD or np.isnan(accuracy(draws[0], "both", 4 * n_gold, 1)):
                continue
            grid = np.array(
                [
                    [np.mean([accuracy(t, "both", a * n_gold, b) for t in draws]) for b in FACTORS]
                    for a in FACTORS
                ]
            )
            truth = RegularGridInterpolator((np.log(FACTORS), np.log(FACTORS)), grid)
            curve = curve_of(found, n, "both")
            for gold, pool in BUDGETS:
                money = (gold - 1) * n_gold
                prices = Prices(money, 1.0, money / ((pool - 1) * n_pool))
                split = Market(curve, prices, LEVEL).best(prices.budget)
                point = (1 + split.gold / n_gold, 1 + split.weak / n_pool)
                ways = np.stack([1 + shares * (gold - 1), 1 + (1 - shares) * (pool - 1)], axis=1)
                true = truth(np.log(ways))
                reached = float(truth(np.log(point)).item())
                rows.append(
                    {
                        "task": name,
                        "seed": seed,
                        "n": n_gold,
                        "budget": f"x {gold} or x {pool}",
                    }
                    | {
                        "advised": true.max() - reached,
                        "all gold": true.max() - true[-1],
                    }
                    | {"all weak": true.max() - true[0], "half": true.max() - true[20]}
                )
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    lines = [
        "| " + " | ".join(map(str, table.columns)) + " |",
        "|---" * table.shape[1] + "|",
    ]
    for row in table.itertuples(index=False):
        cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(known: dict[tuple[str, int], dict[str, Any]]) -> None:
    """Print the tables."""
    table = forecasts(known)
    print(f"{len({task for task, _ in known})} tasks, {len(known)} draws, {len(table)} forecasts\n")
    print(markdown(errors_table(table)), "\n")
    pairs = purchases(known)
    clear = pairs[pairs["difference"].abs() > BETTER]
    named = np.sign(clear["difference"]) == np.sign(clear["forecast"])
    first = clear["difference"] > 0
    counts = pd.DataFrame({"kinds": clear["kinds"], "named": named, "always the first": first})
    by_kind = counts.groupby("kinds").mean().assign(pairs=counts.groupby("kinds").size())
    by_kind = by_kind.reset_index()
    print(
        markdown(by_kind),
        f"\n\nbetter purchase named in {named.mean():.3f} of {len(named)}\n",
    )
    lost = regrets(known)
    columns = ["advised", "all gold", "all weak", "half"]
    print(markdown(lost.groupby("budget")[columns].mean().reset_index()))
    print(f"\nregret {lost['advised'].mean():.4f}")


def main() -> None:
    """Measure, and print tables of all tasks and of those on corpora that nothing was tuned on."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first", type=int, default=100, help="first seed (default: %(default)s)")
    options.add_argument("--tables", action="store_true", help="print what is in the cache")
    options.add_argument(
        "--planned", type=int, default=5, help="seeds with planners, not truth only"
    )
    arguments = options.parse_args()
    n_seeds = 3 if arguments.quick else arguments.seeds
    known = {}
    for seed in range(arguments.first, arguments.first + n_seeds):
        for task in tasks():
            done = (arguments.cache / "plan" / f"{task.name}-{seed}.json").exists()
            if done or not arguments.tables:
                planned = seed < arguments.first + arguments.planned
                known[task.name, seed] = measure(task, seed, arguments.cache, planned)
    report(known)
    print("\nOnly corpora that nothing was tuned on:\n")
    report({key: found for key, found in known.items() if not key[0].startswith(TUNED)})


if __name__ == "__main__":
    main()
