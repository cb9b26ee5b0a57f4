"""Does a forecast hold for a pool from elsewhere once labelled rows are weighted?

Sentiment of three domains, and kinds of questions. A task has its labelled rows from one mixture of
domains and its pool from another ("mixture", four fifths of one domain among the labelled rows and
a fifth in the pool), from both sides of a principal component of one corpus ("tilt"), or a pool of
which a part ("new part") or all ("new domain") is of a domain without labels. The forecast is made
with and without `gold_weight`; the truth is the accuracy of models trained on that very draw on up
to 2,000 other rows like the pool. Run ``python benchmarks/evidence/shift_forecast.py``; it prints
Markdown tables. ``--first N`` starts at another seed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser

from w2s_data import GainForecaster, LabelPosterior, LinearProbe, ShiftDetector, TfidfEncoder
from w2s_data.forecast.result import WITHHELD, GainForecast

DOMAINS = ("sst2", "customer_reviews", "mpqa")  # sentiment
TILTED = (*DOMAINS, "trec")
MOST = 3_000  # texts of a corpus
N_EXTERNAL, N_POOL, MOST_TEST = 400, 800, 2_000
SIZES = (100, 200, 150)  # gold rows, by seed
TEACHER_C = 0.01  # scikit-learn's: l2 = 1 / (C n)
STUDENT_L2 = 0.1
HOME_SHARES = {"mixture": (0.8, 0.2), "new part": (1.0, 0.7), "new domain": (1.0, 0.0)}
TILT = 1.0  # log odds of the pool per standard deviation
LEVEL = 0.9
MEASURED = ("teacher", "gold", "both")


@dataclass(frozen=True)
class Rows:
    """Texts with features and labels, and the chance to draw each for labelled rows or pool."""

    texts: np.ndarray
    strong: np.ndarray
    labels: np.ndarray
    in_labelled: np.ndarray
    in_pool: np.ndarray


def corpus_rows(name: str, cache: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts, strong features and labels of a corpus."""
    corpus = load_corpus(name, MOST)
    strong = minilm_features(corpus, LAST_LAYER, cache / f"most-{MOST}")
    return np.array(corpus.texts, dtype=object), strong, corpus.labels


def mixture(home: tuple, away: tuple, shares: tuple[float, float]) -> Rows:
    """Two domains, of which the first has some share of the labelled rows, and of the pool."""
    texts, strong, labels = (np.concatenate(pair) for pair in zip(home, away, strict=True))
    at_home = np.arange(len(labels)) < len(home[2])
    chances = [np.where(at_home, s / at_home.sum(), (1 - s) / (~at_home).sum()) for s in shares]
    return Rows(texts, strong, labels, *chances)


def tilted(corpus: tuple, rng: np.random.Generator) -> Rows:
    """One corpus, drawn from both sides of one of its first five principal components."""
    texts, strong, labels = corpus
    spread = strong.std(axis=0)
    scaled = ((strong - strong.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float64)
    directions = np.linalg.eigh(scaled.T @ scaled)[1][:, ::-1][:, :5]
    along = scaled @ directions[:, rng.integers(5)]
    chance = np.exp(TILT * rng.choice([-1, 1]) * along / along.std() / 2)
    return Rows(texts, strong, labels, 1 / chance / (1 / chance).sum(), chance / chance.sum())


def draw(rows: Rows, n_gold: int, rng: np.random.Generator) -> list[np.ndarray]:
    """External, gold, pool and test rows; drawn again until each class has two gold rows."""
    n = len(rows.labels)
    while True:
        labelled = rng.choice(n, N_EXTERNAL + n_gold, replace=False, p=rows.in_labelled)
        labelled = rng.permutation(labelled)
        external, gold = np.split(labelled, [N_EXTERNAL])
        if np.bincount(rows.labels[gold], minlength=rows.labels.max() + 1).min() >= 2:
            break
    left = rows.in_pool.copy()
    left[labelled] = 0
    # A large part of a mixture cannot be drawn without changing its shares.
    n_others = min(N_POOL + MOST_TEST, int(0.6 * np.exp(_entropy(left / left.sum()))))
    others = rng.permutation(rng.choice(n, n_others, replace=False, p=left / left.sum()))
    return [external, gold, *np.split(others, [N_POOL])]


def _entropy(chance: np.ndarray) -> float:
    known = chance[chance > 0]
    return float(-(known * np.log(known)).sum())


def measure(rows: Rows, own: bool, n_gold: int, seed: int) -> dict:
    """Forecasts with and without weights, and the truth, of one task."""
    external, gold, pool, test = draw(rows, n_gold, np.random.default_rng([seed, n_gold]))
    y, strong, known = rows.labels, rows.strong, np.concatenate([external, gold, pool])
    n_classes, taught = int(y.max()) + 1, gold if own else external
    encoder = TfidfEncoder(48).fit(rows.texts[known].tolist())
    weak = encoder.encode(rows.texts.tolist())
    untaught = LinearProbe(l2=1 / (TEACHER_C * len(taught)), device="cpu")
    teacher = clone(untaught).fit(weak[taught], y[taught])
    student = LinearProbe(l2=STUDENT_L2, device="cpu")
    gold_student = LinearProbe(l2="cv", device="cpu", random_state=seed).fit(strong[gold], y[gold])
    fixed = LinearProbe(l2=gold_student.l2_, device="cpu")
    ready = tuple(teacher.predict_proba(weak[part]) for part in (gold, pool))
    detector = ShiftDetector(random_state=seed).fit(
        strong, weak, reference=gold, others={"pool": pool}, progress=False
    )

    def forecast(gold_weight: np.ndarray | None) -> GainForecast:
        return (
            GainForecaster(student, untaught, gold_student=fixed, level=LEVEL, random_state=seed)
            .fit(
                strong[gold],
                weak[gold],
                y[gold],
                strong_pool=strong[pool],
                weak_pool=weak[pool],
                weak_proba=None if own else ready,
                gold_weight=gold_weight,
                progress=False,
            )
            .forecast_
        )

    def relabel(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        retrained = clone(untaught).fit(weak[gold[part]], np.eye(n_classes)[y[gold[part]]])
        return retrained.predict_proba(weak[gold]), retrained.predict_proba(weak[pool])

    posterior = LabelPosterior(
        l2=fixed.l2, student_l2=STUDENT_L2, level=LEVEL, device="cpu", random_state=seed
    )
    # Reference rows are in ascending order, as the weights are.
    order = np.argsort(gold)
    weight = np.empty(len(gold))
    weight[order] = detector.weights_["pool"]
    found = {}
    for name, own_weight in (("plain", None), ("weighted", weight)):
        posterior.fit(
            strong[pool],
            ready[1],
            gold=(strong[gold], ready[0], y[gold]),
            relabel=relabel if own else None,
            gold_weight=own_weight,
            progress=False,
        )
        found[name] = posterior.accuracy_
    both = np.concatenate([posterior.proba_, np.eye(n_classes)[y[gold]]])
    stacked = clone(student).fit(np.concatenate([strong[pool], strong[gold]]), both)
    truth = {
        "teacher": np.mean(teacher.predict(weak[test]) == y[test]),
        "gold": np.mean(gold_student.predict(strong[test]) == y[test]),
        "both": np.mean(stacked.predict(strong[test]) == y[test]),
    }
    right = np.mean(posterior.proba_.argmax(axis=1) == y[pool])
    record = {"alarm": detector.alarm_, "size": detector.shifts_["pool"].effective_size}
    plain = forecast(None)
    for name, made in (
        ("plain", plain),
        ("weighted", forecast(weight) if detector.alarm_ else plain),
    ):
        record |= compared(made, truth, name)
        estimate = found[name if detector.alarm_ else "plain"]
        record[f"posterior error, {name}"] = abs(estimate.value - right)
        record[f"posterior covers, {name}"] = estimate.low <= right <= estimate.high
    return record | {"n": n_gold, "own": own}


def compared(forecast: GainForecast, truth: dict[str, float], name: str) -> dict:
    """Errors and coverage of the accuracies of a forecast, and of the differences of them."""
    record: dict = {f"withheld, {name}": forecast.verdict == WITHHELD}
    options = {o.name: o.accuracy for o in forecast.options if o.name in MEASURED}
    for option, estimate in options.items():
        record[f"{option} error, {name}"] = abs(estimate.value - truth[option])
        record[f"{option} covers, {name}"] = estimate.low <= truth[option] <= estimate.high
        record[f"{option} half, {name}"] = (estimate.high - estimate.low) / 2
    pairs = [d for d in forecast.differences if {d.name, d.other} <= set(MEASURED)]
    true = [truth[d.name] - truth[d.other] for d in pairs]
    errors = [abs(d.difference.value - t) for d, t in zip(pairs, true, strict=True)]
    covers = [d.difference.low <= t <= d.difference.high for d, t in zip(pairs, true, strict=True)]
    return record | {
        f"differences error, {name}": np.mean(errors),
        f"differences covers, {name}": np.mean(covers),
    }


def summary(results: pd.DataFrame) -> str:
    """Return a Markdown table of errors and coverage, one row per kind of task and one for all."""
    lines = [
        "| tasks | n | alarm | withheld | effective size | error of accuracies, plain | weighted "
        "| covered, plain | weighted | half-width, plain | weighted | error of differences, plain "
        "| weighted | covered, plain | weighted |",
        "|---" * 15 + "|",
    ]
    given = ~results["withheld, weighted"]
    parts = {f"{kind}": part for kind, part in results.groupby("kind", sort=False)}
    parts |= {"all": results, "advice given, alarm": results[given & results["alarm"]]}
    parts["advice given, any"] = results[given]
    for name, part in parts.items():
        cells = [f"{len(part)}"]
        cells += [f"{part[column].mean():.2f}" for column in ("alarm", "withheld, weighted")]
        cells.append(f"{part['size'].median():.0f}")
        for what, digits in (("error", 3), ("covers", 2), ("half", 3)):
            for how in ("plain", "weighted"):
                columns = [f"{option} {what}, {how}" for option in MEASURED]
                cells.append(f"{part[columns].mean().mean():.{digits}f}")
        for what, digits in (("error", 3), ("covers", 2)):
            cells += [
                f"{part[f'differences {what}, {how}'].mean():.{digits}f}"
                for how in ("plain", "weighted")
            ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def options_table(results: pd.DataFrame) -> str:
    """Return a Markdown table by option, and of the posterior's accuracy, of given advice."""
    lines = [
        "| estimate | error, plain | weighted | covered, plain | weighted |",
        "|---|---|---|---|---|",
    ]
    for option in (*MEASURED, "posterior"):
        errors = [results[f"{option} error, {how}"].mean() for how in ("plain", "weighted")]
        covers = [results[f"{option} covers, {how}"].mean() for how in ("plain", "weighted")]
        cells = [f"{value:.3f}" for value in errors] + [f"{value:.2f}" for value in covers]
        lines.append(f"| {option} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tasks(corpora: dict[str, tuple], seed: int) -> list[tuple[str, Rows]]:
    """Return the tasks of a seed."""
    rng = np.random.default_rng(seed)
    pairs = list(permutations(DOMAINS, 2))
    found = [
        ("mixture", mixture(corpora[home], corpora[away], HOME_SHARES["mixture"]))
        for home, away in pairs
    ]
    found += [("tilt", tilted(corpora[name], rng)) for name in TILTED]
    for k, kind in enumerate(("new part", "new part", "new domain", "new domain")):
        home, away = pairs[(seed + 2 * k) % len(pairs)]
        found.append((kind, mixture(corpora[home], corpora[away], HOME_SHARES[kind])))
    return found


def main() -> None:
    """Print the tables."""
    options = parser(__doc__, seeds=3)
    options.add_argument("--first", type=int, default=300, help="first seed (default: %(default)s)")
    arguments = options.parse_args()
    corpora = {name: corpus_rows(name, arguments.cache) for name in TILTED}
    records = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for k, (kind, rows) in enumerate(tasks(corpora, seed)):
            record = measure(rows, (seed + k) % 3 == 0, SIZES[(seed + k) % len(SIZES)], seed)
            records.append({"kind": kind} | record)
            print(kind, seed, k, records[-1], file=sys.stderr, flush=True)
    results = pd.DataFrame(records)
    print(f"**{len(results)} tasks, intervals of {LEVEL:.0%}**\n\n{summary(results)}\n")
    weighted = results[results["alarm"] & ~results["withheld, weighted"]]
    print(f"**By estimate, {len(weighted)} tasks with an alarm and advice**\n")
    print(options_table(weighted))


if __name__ == "__main__":
    main()
