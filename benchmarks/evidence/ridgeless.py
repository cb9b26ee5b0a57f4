"""Do ridgeless teacher and student have the risks that the exact forms say?

Jointly Gaussian weak and strong features, a linear target, labels with noise of variance 1; the
grid has many and few rows, few and many shared dimensions, approximation errors, an intercept,
fewer rows than dimensions, and pools around the break-even. Every model is
`RidgeProbe(penalty=0)`. With ``--real`` the features are real ones, and the variance given the
rows is compared with the exact expectation for Gaussian features. Run
``python benchmarks/evidence/ridgeless.py``; it prints a Markdown table.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import load_corpus, minilm_features, parser, tfidf_features

from w2s_data.discrepancy.analyzer import DiscrepancyAnalyzer
from w2s_data.discrepancy.design import design_risks
from w2s_data.discrepancy.ridgeless import ridgeless_risks
from w2s_data.discrepancy.theory import ROLES, Risks, risks
from w2s_data.probes.ridge import RidgeProbe

PARTLY = np.linspace(0.95, 0.1, 15)
MIXED = np.array([1.0] * 4 + [0.6] * 4)


@dataclass(frozen=True)
class Cell:
    """Sizes, canonical correlations, and a target a'alpha + b'beta + missed z."""

    name: str
    n: int
    N: int
    d_w: int
    d_s: int
    rho: Any
    trials: int
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)  # deviations of its coefficients
    intercept: bool = False
    models: tuple[str, ...] = field(default=ROLES)


CELLS = (
    Cell("A1 five shared", 60, 200, 15, 20, np.ones(5), 1500),
    Cell("A2 partly shared", 60, 200, 15, 20, PARTLY, 1500),
    Cell("A3 nothing shared", 60, 200, 15, 20, np.zeros(1), 1500),
    Cell("A4 all shared", 60, 200, 15, 15, np.ones(15), 1500),
    Cell("A5 few rows", 25, 40, 15, 10, np.array([1.0] * 3 + [0.5] * 4), 4000),
    Cell("A6 large", 400, 1000, 60, 30, np.full(20, 0.8), 300),
    Cell("A7 approximation errors", 50, 120, 10, 12, MIXED, 1500, (0.25, 0.25, 0.3)),
    Cell("intercept", 40, 60, 10, 12, MIXED, 3000, intercept=True),
    Cell("intercept, errors", 40, 60, 10, 12, MIXED, 3000, (0.25, 0.25, 0.3), intercept=True),
    Cell("N < d_s", 60, 40, 15, 80, np.full(10, 0.8), 3000, models=("teacher", "student")),
    Cell("n < d_w, N < d_s", 20, 60, 40, 120, np.full(20, 0.9), 3000),
    Cell("n < d_w, errors", 12, 60, 25, 8, MIXED, 3000, (0.25, 0.25, 0.3), intercept=True),
    *(
        Cell(f"break-even N = {N}", 40, N, 8, 10, np.ones(3), 4000, models=("teacher", "student"))
        for N in (16, 19, 21, 24, 40)
    ),
)


@dataclass(frozen=True)
class Problem:
    """The target of a cell, and what it means for either side."""

    cell: Cell
    alpha: Any
    beta: Any

    @classmethod
    def of(cls, cell: Cell, rng: np.random.Generator) -> Problem:
        of_weak, of_strong, _ = cell.target
        return cls(cell, rng.normal(0, of_weak, cell.d_w), rng.normal(0, of_strong, cell.d_s))

    @property
    def cross(self) -> Any:
        """Covariance (d_s, d_w) of strong and weak features."""
        C = np.zeros((self.cell.d_s, self.cell.d_w))
        C[range(len(self.cell.rho)), range(len(self.cell.rho))] = self.cell.rho
        return C

    @property
    def best(self) -> tuple[Any, Any]:
        """Coefficients of the best weak and the best strong function."""
        return self.alpha + self.cross.T @ self.beta, self.beta + self.cross @ self.alpha

    def exact(self) -> Risks:
        cell, (weak, strong), C = self.cell, self.best, self.cross
        signal = self.alpha @ self.alpha + self.beta @ self.beta + 2 * self.beta @ C @ self.alpha
        signal = float(signal + cell.target[2] ** 2)
        missed = {"rho_w": signal - weak @ weak, "rho_s": signal - strong @ strong}
        missed["c2"] = np.sum((strong - C @ weak) ** 2)
        missed["rho_ws"] = weak @ (np.eye(cell.d_w) - C.T @ C) @ weak
        return ridgeless_risks(
            cell.n, cell.N, d_w=cell.d_w, d_s=cell.d_s, d_sw=float(np.sum(cell.rho**2)),
            signal=signal, intercept=cell.intercept,
            **{name: max(0.0, float(value)) for name, value in missed.items()},
        )  # fmt: skip

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
        cell, k = self.cell, len(self.cell.rho)
        a, b = rng.normal(size=(rows, cell.d_w)), rng.normal(size=(rows, cell.d_s))
        b[:, :k] = cell.rho * a[:, :k] + np.sqrt(1 - cell.rho**2) * b[:, :k]
        return a, b, a @ self.alpha + b @ self.beta + cell.target[2] * rng.normal(size=rows)

    def measured(self, rng: np.random.Generator) -> list[float]:
        """Squared errors to the noiseless target on endless test rows, of one draw."""
        cell, (weak, strong) = self.cell, self.best
        a, b, f = self.draw(cell.n, rng)
        pool_a, pool_b, pool_f = self.draw(cell.N, rng)
        y, pool_y = f + rng.normal(size=cell.n), pool_f + rng.normal(size=cell.N)
        teacher = self.fit(a, y)
        found = {"teacher": self.error(teacher, weak)}
        taught = teacher.predict(pool_a)
        found["student"] = self.error(self.fit(pool_b, taught), strong)
        if "sft" in cell.models:
            found["sft"] = self.error(self.fit(b, y), strong)
            both = self.fit(np.r_[b, pool_b], np.r_[y, pool_y])
            found["ceiling"] = self.error(both, strong)
        return [found[name] for name in cell.models]

    def fit(self, x: Any, y: Any) -> RidgeProbe:
        return RidgeProbe(penalty=0, fit_intercept=self.cell.intercept).fit(x, y)

    def error(self, model: RidgeProbe, best: Any) -> float:
        signal = self.alpha @ self.alpha + self.beta @ self.beta
        signal += 2 * self.beta @ self.cross @ self.alpha + self.cell.target[2] ** 2
        missed = signal - best @ best
        return float(missed + np.sum((model.coef_ - best) ** 2) + model.intercept_**2)


def simulated(seeds: int, first: int, share: float) -> pd.DataFrame:
    """Mean squared error of every model of every cell, with its standard error."""
    rows = []
    for k, cell in enumerate(CELLS):
        problem = Problem.of(cell, np.random.default_rng([first, k]))
        trials = round(share * cell.trials)
        found = np.array(
            [
                problem.measured(rng)
                for seed in range(first, first + seeds)
                for rng in np.random.default_rng([seed, k, 1]).spawn(trials)
            ]
        )
        exact = problem.exact()
        for name, values in zip(cell.models, found.T, strict=True):
            told, error = getattr(exact, name), values.std(ddof=1) / np.sqrt(len(values))
            rows.append(
                {
                    "problem": cell.name,
                    "model": name,
                    "predicted": told,
                    "measured": values.mean(),
                    "standard error": error,
                    "z": (values.mean() - told) / error,
                }
            )
    return pd.DataFrame(rows)


def on_real_features(cache: Path, seed: int, draws: int = 30) -> pd.DataFrame:
    """Variance given the rows, over that expected of Gaussian features of the same dimensions."""
    rows = []
    for name, strong, weak in real(cache):
        analyzer = DiscrepancyAnalyzer(n_jackknife=0, intercept=True).fit(strong, weak)
        d_s, d_w = analyzer.d_s_, analyzer.d_w_
        for n, N in ((4 * d_w, 1000), (10 * d_w, 1000)):
            told = risks(
                n, N, d_s=d_s, d_w=d_w, d_sw=analyzer.correlation_dimension_, intercept=True
            )
            rng = np.random.default_rng(seed)
            found = []
            for _ in range(draws):
                order = rng.permutation(len(strong))
                sets = np.split(order, [n, n + N])
                found.append(design_risks(strong, weak, *sets).variance)
            mean = {role: np.mean([getattr(x, role) for x in found]) for role in ROLES}
            row = {"features": name, "n": n, "N": N, "d_w": d_w, "d_s": d_s}
            row["d_sw"] = analyzer.correlation_dimension_
            for role in ("teacher", "student"):
                row[role] = mean[role] / getattr(told, role)
            rows.append(row | {"ratio": row["student"] / row["teacher"]})
    return pd.DataFrame(rows)


def real(cache: Path) -> Any:
    """Names, strong and weak features of real rows, reduced to their principal components."""
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    pixels = load_digits().data
    yield "digits, upper half", PCA(24).fit_transform(pixels), PCA(12).fit_transform(pixels[:, :32])
    yield "digits, all pixels", pixels, pixels[:, :32]
    for name in ("customer_reviews",):
        corpus = load_corpus(name)
        strong = PCA(32).fit_transform(minilm_features(corpus, 6, cache))
        embedded = minilm_features(corpus, 0, cache)
        yield f"{name}, MiniLM's embeddings", strong, PCA(16).fit_transform(embedded)
        words = tfidf_features(corpus, np.arange(len(corpus)), 48)
        yield f"{name}, TF-IDF", strong, words


def main() -> None:
    """Print the table of simulations, or that of real features."""
    options = parser(__doc__, seeds=1)
    options.add_argument("--first", type=int, default=100, help="first seed")
    options.add_argument("--real", action="store_true", help="real features")
    given = options.parse_args()
    if given.real:
        print(markdown(on_real_features(given.cache, given.first), ".2f"))
        return
    table = simulated(given.seeds, given.first, 0.1 if given.quick else 1.0)
    print(markdown(table, ".4f"))
    z = table["z"].abs()
    print(f"\n{len(z)} risks: |z| up to {z.max():.2f}, above 3 in {(z > 3).sum()}")


def markdown(table: pd.DataFrame, digits: str) -> str:
    """Return a table in Markdown."""
    lines = [" | ".join(table.columns), " | ".join(["---"] * table.shape[1])]
    for row in table.itertuples(index=False):
        cells = [f"{v:{digits}}" if isinstance(v, float) else str(v) for v in row]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    main()
