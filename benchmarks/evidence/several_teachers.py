"""Options of the methods for several teachers, and of the confidence loss, on fresh rows.

``--raven``: sentiment of SST-2, customer reviews and MPQA, 3,000 texts each; teachers are logistic
(C = .01) on MiniLM layer 1, students linear heads on its last layer. There are three teachers: of
three domains, with a pool of one of them; of one domain, with 0, 20 and 35 % of their labels
flipped; of three domains, with a pool of all three. ``--balance``: one teacher (TF-IDF, 300 labels)
on each of five corpora, and on SST-2 with few or many positive texts. Run
``python benchmarks/evidence/several_teachers.py`` with one of them; it prints Markdown tables in
percent, with 95 % intervals over seeds of the paired differences.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from raven import DOMAINS, MOST, TEACHER_C, load

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, Corpus, load_corpus, minilm_features, parser, split_rows
from sklearn.metrics import f1_score

from w2s_data import LinearProbe, TfidfEncoder
from w2s_data.finetune import fit_student
from w2s_data.utils.intervals import mean_interval

N_TEACHER, N_POOL, N_TEST = 400, 1_200, 1_200
FLIPS = (0.0, 0.2, 0.35)
CORPORA = ("trec", "ag_news_test", "sst2", "customer_reviews", "subj")
SHARES = (0.25, 0.35, 0.65, 0.75)  # of positive texts of SST-2
SIZES, FEW = (300, 1_500, 1_500), (300, 1_000, 1_000)  # labelled, pool, test
LARGEST, COMPONENTS = 6_000, 48  # texts of a corpus, and of its TF-IDF
L2 = 1e-3  # to choose a penalty changes no order, and takes longer than all the rest
RAVEN: dict[str, tuple[str, dict[str, Any]]] = {
    "raven": ("raven", {}),
    "raven, per_sample": ("raven", {"per_sample": True}),
    "raven, start entropy": ("raven", {"start": "entropy"}),
    "raven, easy_by group": ("raven", {"easy_by": "group"}),
    "vsup": ("vsup", {}),
    "vsup, per_teacher": ("vsup", {"per_teacher": True}),
    "bayes": ("bayes", {}),
    "bayes, per_teacher": ("bayes", {"per_teacher": True}),
}
BALANCE: dict[str, tuple[str, dict[str, Any]]] = {
    "naive": ("naive", {}),
    "confidence": ("confidence", {}),
    "confidence, balance": ("confidence", {"balance": True}),
}


class Texts(NamedTuple):
    """Domains, labels, weak and strong features of all texts."""

    domains: np.ndarray
    labels: np.ndarray
    weak: np.ndarray
    strong: np.ndarray

    def rows(self, name: str, rng: np.random.Generator) -> np.ndarray:
        """Rows of a domain in random order."""
        return rng.permutation(np.flatnonzero(self.domains == name))

    def teach(self, rows: np.ndarray, labels: np.ndarray | None = None) -> LinearProbe:
        """Train a teacher on some rows, by default with their labels."""
        probe = LinearProbe(l2=1 / (TEACHER_C * len(rows)), device="cpu")
        return probe.fit(self.weak[rows], self.labels[rows] if labels is None else labels)


Drawn = tuple[list[LinearProbe], np.ndarray, np.ndarray]  # teachers, pool, test


def one_domain(texts: Texts, rng: np.random.Generator) -> Drawn:
    """Teachers of three domains; pool and test of SST-2."""
    rows = {name: texts.rows(name, rng) for name in DOMAINS}
    teachers = [texts.teach(rows[name][:N_TEACHER]) for name in DOMAINS]
    _, pool, test, _ = np.split(rows["sst2"], np.cumsum([N_TEACHER, N_POOL, N_TEST]))
    return teachers, pool, test


def flipped(texts: Texts, rng: np.random.Generator) -> Drawn:
    """Teachers of SST-2 with flipped labels."""
    n = N_TEACHER // 2
    *taught, pool, test, _ = np.split(texts.rows("sst2", rng), np.cumsum([n, n, n, N_POOL, N_TEST]))
    teachers = []
    for rows, share in zip(taught, FLIPS, strict=True):
        noisy = np.where(rng.random(n) < share, 1 - texts.labels[rows], texts.labels[rows])
        teachers.append(texts.teach(rows, noisy))
    return teachers, pool, test


def three_domains(texts: Texts, rng: np.random.Generator) -> Drawn:
    """Teachers of three domains; pool and test of all three."""
    ends = np.cumsum([N_TEACHER, N_POOL // 3, N_TEST // 3])
    parts = [np.split(texts.rows(name, rng), ends) for name in DOMAINS]
    teachers = [texts.teach(own[0]) for own in parts]
    return teachers, np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts])


SETTINGS: dict[str, Callable[..., Drawn]] = {
    "teachers of three domains, pool of one": one_domain,
    "teachers with flipped labels": flipped,
    "teachers and pool of three domains": three_domains,
}


def students(
    strong: np.ndarray,
    said: np.ndarray,
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
    variants: dict[str, tuple[str, dict[str, Any]]],
    seed: int,
    groups: np.ndarray | None = None,
) -> dict[tuple[str, str], float]:
    """Accuracy and macro-F1 on the test rows, in percent, by metric and student.

    `drawn` are the rows of the pool and the test, and the labels of all; `said` is of the pool.
    """
    pool, test, labels = drawn
    result = {}
    for name, (method, options) in variants.items():
        student = fit_student(
            *(method, strong[pool], said),
            groups=None if groups is None else groups[pool],
            random_state=seed,
            controls=False,
            l2=L2,
            device="cpu",
            progress=False,
            **options,
        )
        predicted = student.seed_proba(strong[test])[0].argmax(axis=1)
        result["accuracy", name] = 100 * float((predicted == labels[test]).mean())
        result["macro-F1", name] = 100 * float(f1_score(labels[test], predicted, average="macro"))
    return result


def compare_raven(
    texts: Texts, draw: Callable[..., Drawn], names: list[str], seed: int
) -> dict[tuple[str, str], float]:
    """Students of three teachers."""
    teachers, pool, test = draw(texts, np.random.default_rng(seed))
    said = np.stack([teacher.predict_proba(texts.weak[pool]) for teacher in teachers], axis=1)
    rows = (pool, test, texts.labels)
    chosen = {name: RAVEN[name] for name in names}
    return students(texts.strong, said, rows, chosen, seed, texts.domains)


def unbalanced(labels: np.ndarray, share: float, seed: int) -> list[np.ndarray]:
    """Rows of each split, of which a share has label 1."""
    rows = np.random.default_rng(seed).permutation(len(labels))
    parts = []
    for code, part in ((0, 1 - share), (1, share)):
        own, sizes = rows[labels[rows] == code], [round(part * n) for n in FEW]
        parts.append(np.split(own[: sum(sizes)], np.cumsum(sizes)[:-1]))
    return [np.concatenate(both) for both in zip(*parts, strict=True)]


def compare_confidence(
    corpus: Corpus, strong: np.ndarray, share: float | None, seed: int
) -> dict[tuple[str, str], float]:
    """Students of one teacher, on a share of positive texts or all texts as they are."""
    if share is None:
        labelled, pool, test = split_rows(corpus.labels, SIZES, seed, balanced=False)
    else:
        labelled, pool, test = unbalanced(corpus.labels, share, seed)
    encoder = TfidfEncoder(COMPONENTS).fit(corpus.text(labelled))
    probe = LinearProbe(l2=1 / (TEACHER_C * len(labelled)), device="cpu")
    probe.fit(encoder.encode(corpus.text(labelled)), corpus.labels[labelled])
    said = np.zeros((len(pool), corpus.labels.max() + 1))
    said[:, probe.classes_] = probe.predict_proba(encoder.encode(corpus.text(pool)))
    return students(strong, said, (pool, test, corpus.labels), BALANCE, seed)


def show(table: pd.DataFrame, baseline: str) -> None:
    """Print a row per student: its mean score, and its paired lead over a baseline by setting."""
    settings = list(dict.fromkeys(table.index.get_level_values("setting")))
    print(f"| student | {' | '.join(settings)} |\n{'|---' * (1 + len(settings))}|")
    for student in table.columns:
        cells = []
        for setting in settings:
            own = table.loc[setting]
            lead, low, high = mean_interval((own[student] - own[baseline]).to_numpy())
            cell = f"{own[student].mean():.1f}"
            cells.append(
                cell if student == baseline else f"{cell}, {lead:+.1f} ({low:+.1f} to {high:+.1f})"
            )
        print(f"| {student} | {' | '.join(cells)} |")


def main() -> None:
    """Print the table that is asked for."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first", type=int, default=0, help="first seed")
    which = options.add_mutually_exclusive_group(required=True)
    which.add_argument("--raven", action="store_true")
    which.add_argument("--balance", action="store_true")
    options.add_argument("--only", nargs="+", choices=RAVEN, default=[*RAVEN], help="students")
    arguments = options.parse_args()
    seeds = range(arguments.first, arguments.first + (3 if arguments.quick else arguments.seeds))
    cells: dict[str, Callable[[int], dict[tuple[str, str], float]]] = {}
    if arguments.raven:
        texts = Texts(*load(arguments.cache / f"most-{MOST}"))
        for name, draw in SETTINGS.items():
            cells[name] = functools.partial(compare_raven, texts, draw, arguments.only)
    else:
        shares = {f"sst2, {share:.0%} positive": ("sst2", share) for share in SHARES}
        for title, (name, share) in ({n: (n, None) for n in CORPORA} | shares).items():
            corpus = load_corpus(name, LARGEST)
            strong = minilm_features(corpus, LAST_LAYER, arguments.cache / f"most-{LARGEST}")
            cells[title] = functools.partial(compare_confidence, corpus, strong, share)
    runs = {(name, seed): compare(seed=seed) for name, compare in cells.items() for seed in seeds}
    table = pd.DataFrame.from_dict(runs, orient="index").rename_axis(["setting", "seed"])
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    for metric in ("accuracy",) if arguments.raven else ("accuracy", "macro-F1"):
        print(f"\n{metric.capitalize()}, in percent:\n")
        show(table[metric], "raven" if arguments.raven else "confidence")


if __name__ == "__main__":
    main()
