"""Evidence on one group, and the predictions with intervals that follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.spurious.advice import advise, remedy_of
from w2s_data.spurious.model import GroupGeometry, GroupRisks
from w2s_data.spurious.results import GroupPrediction, PredictedRisks, columns
from w2s_data.spurious.theory import (
    POOL_SHARES,
    ROUNDING,
    TESTS,
    mixture_risks,
)
from w2s_data.utils.intervals import Estimate, student_interval
from w2s_data.utils.jackknife import chance_below_zero, jackknife_error
from w2s_data.utils.typing import FloatArray

EVEN = 0.5  # share of a test where both groups count alike, since accuracy on either matters


@dataclass(frozen=True)
class GroupEvidence:
    """One group compared with all other rows.

    The shares are those of the rows at hand, hence known; only the features leave uncertainty.
    """

    group: Any
    n_rows: int
    eta_labelled: Estimate
    eta_pool: Estimate
    n: int
    N: int
    geometry: GroupGeometry
    left_out: GroupGeometry | None  # of arrays (J,), each part left out; None: NaN intervals
    freedom: int  # of Student's t
    level: float
    covariance_difference: float  # the model takes it as 0

    def predict(
        self,
        eta_pool: float | None = None,
        eta_test: float = EVEN,
        n: int | None = None,
        N: int | None = None,
        noise: float = 1.0,
    ) -> GroupPrediction:
        """Predict risks for a share in the pool, as `SpuriousAnalyzer.predict_risk` does."""
        n, N = self.n if n is None else int(n), self.N if N is None else int(N)
        share = self.eta_pool.value if eta_pool is None else float(eta_pool)
        gamma, nu = self._scales(n, N)

        def by_part(geometry: GroupGeometry) -> dict[str, GroupRisks]:
            tests = TESTS | {"average": eta_test}
            risks = {
                part: mixture_risks(
                    geometry, self.eta_labelled.value, share, test, gamma, nu, noise=noise
                )
                for part, test in tests.items()
            }
            # Each model has its own worst group, hence two maxima and not that of one group.
            worst = (
                np.maximum(getattr(risks["others"], role), getattr(risks["inside"], role))
                for role in ("teacher", "student")
            )
            return risks | {"worst": GroupRisks(*worst)}

        left_out = {} if self.left_out is None else by_part(self.left_out)
        parts = {
            part: self._predicted(risks, left_out.get(part))
            for part, risks in by_part(self.geometry).items()
        }
        return GroupPrediction(
            group=self.group,
            eta_labelled=self.eta_labelled.value,
            eta_pool=share,
            eta_test=float(eta_test),
            n=n,
            N=N,
            noise=float(noise),
            level=self.level,
            **parts,
        )

    @cached_property
    def at_hand(self) -> GroupPrediction:
        """Prediction for the observed shares."""
        return self.predict()

    @property
    def worst_relative_gain(self) -> float:
        """Lowest relative gain over the tests."""
        return min(self.at_hand.risks[part].relative_gain.value for part in TESTS)

    @property
    def chance_fails(self) -> dict[str, float]:
        """Probability that the student is no better than its teacher, by test."""
        return {part: self.at_hand.risks[part].chance_fails for part in TESTS}

    @property
    def fails(self) -> dict[str, bool]:
        """Whether the student is no better than its teacher, up to rounding, by test.

        In simulations of 60 random models the sign of the gain was right in 98 %; without the
        variance between groups, in 87 %.
        """
        risks = {part: self.at_hand.risks[part] for part in TESTS}
        return {part: r.gain.value <= ROUNDING * r.teacher.value for part, r in risks.items()}

    @cached_property
    def optimal_eta_pool(self) -> Estimate:
        """Share in the pool with the lowest risk where both groups count alike.

        The interval spans all shares whose risk does not differ significantly from the lowest,
        by the interval of the paired difference.
        """
        risk = self._student(self.geometry, POOL_SHARES)
        best = int(np.argmin(risk))
        share = float(POOL_SHARES[best])
        if self.left_out is None:
            return Estimate(share, level=self.level)
        # Differences to the best share are paired: they vary far less than the risks themselves.
        left_out = np.stack([self._student(self.left_out, s) for s in POOL_SHARES], axis=1)
        error = jackknife_error(left_out - left_out[:, [best]])
        low, _ = student_interval(risk - risk[best], error, self.freedom, self.level)
        # Rounding makes the best share differ from itself by as much.
        possible = POOL_SHARES[low <= ROUNDING * risk[best]]
        return Estimate(share, float(possible[0]), float(possible[-1]), self.level)

    @cached_property
    def saving(self) -> Estimate:
        """Part of the student's risk that the optimal share saves, both groups alike."""
        now, best = self.eta_pool.value, self.optimal_eta_pool.value
        return self._estimate(lambda g: 1 - self._student(g, best) / self._student(g, now))

    @property
    def shifts(self) -> dict[str, Estimate]:
        """Shift of the mean on either side in standard deviations, and shared dimensions."""
        most = min(self.geometry.d_w, self.geometry.d_s)
        return {
            "shift_teacher": self._estimate(lambda g: g.m_t**0.5, 0.0),  # m_t is squared
            "shift_student": self._estimate(lambda g: g.m_s**0.5, 0.0),
            "shared": self._estimate(lambda g: g.shared, 0.0, most),
        }

    @cached_property
    def advice(self) -> str:
        """Meaning of the shares and what to do, in one sentence."""
        best = self.predict(self.optimal_eta_pool.value)
        return advise(self.at_hand, best, self.saving, self.covariance_difference)

    def to_row(self) -> dict[str, Any]:
        """Return one row of `SpuriousAnalyzer.groups_`."""
        gains = {f"relative_gain_{part}": self.at_hand.risks[part].relative_gain for part in TESTS}
        shares = {"eta_labelled": self.eta_labelled, "eta_pool": self.eta_pool}
        optimum = {"optimal_eta_pool": self.optimal_eta_pool}
        return {
            "group": self.group,
            "n_rows": self.n_rows,
            **columns({**shares, **self.shifts, **gains, **optimum}),
            **{f"chance_fails_{part}": chance for part, chance in self.chance_fails.items()},
            **{f"fails_{part}": fails for part, fails in self.fails.items()},
            "covariance_difference": self.covariance_difference,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return one entry of the list `groups` of `spurious.json`."""
        return {
            "group": self.group,
            "n_rows": self.n_rows,
            "eta_labelled": self.eta_labelled.to_dict(),
            "eta_pool": self.eta_pool.to_dict(),
            **{name: shift.to_dict() for name, shift in self.shifts.items()},
            "risks": {part: risks.to_dict() for part, risks in self.at_hand.risks.items()},
            "fails": self.fails,
            "optimal_eta_pool": self.optimal_eta_pool.to_dict(),
            "saving": self.saving.to_dict(),
            "remedy": remedy_of(self.saving),
            "covariance_difference": self.covariance_difference,
            "advice": self.advice,
        }

    def _scales(self, n: int, N: int) -> tuple[float, float]:
        """Gamma and nu of plain embeddings with an intercept."""
        # Exact for normal features: n - d - 2 is the mean of the inverse Wishart, with intercept.
        d_w, d_s = self.geometry.d_w, self.geometry.d_s
        if n <= d_w + 2 or d_s + 2 >= N:
            raise InputError(
                f"n must exceed d_w + 2 = {d_w + 2} and N d_s + 2 = {d_s + 2}; got n = {n}, N = {N}"
            )
        return 1 / (n - d_w - 2), 1 / (N - d_s - 2)

    def _student(self, geometry: GroupGeometry, eta_pool: float | FloatArray) -> Any:
        """Student's risk with both groups alike, up to the scale gamma."""
        nu = self._scales(self.n, self.N)[1]
        return mixture_risks(geometry, self.eta_labelled.value, eta_pool, EVEN, 1.0, nu).student

    def _estimate(
        self, measure: Callable[[GroupGeometry], Any], low: float = -np.inf, high: float = np.inf
    ) -> Estimate:
        left_out = None if self.left_out is None else measure(self.left_out)
        return self._with_interval(float(measure(self.geometry)), left_out, low, high)

    def _with_interval(
        self, value: float, left_out: Any, low: float, high: float = np.inf
    ) -> Estimate:
        if left_out is None:
            return Estimate(value, level=self.level)
        error = jackknife_error(left_out)
        low, high = student_interval(value, error, self.freedom, self.level, low, high)
        return Estimate(value, float(low), float(high), self.level)

    def _predicted(self, risks: GroupRisks, left_out: GroupRisks | None) -> PredictedRisks:
        # A risk is not negative, a gain may be.
        lowest = {"teacher": 0.0, "student": 0.0, "gain": -np.inf, "relative_gain": -np.inf}
        estimates = {
            name: self._with_interval(
                float(getattr(risks, name)), getattr(left_out, name, None), low
            )
            for name, low in lowest.items()
        }
        # The chance comes from the gain: its sign is that of the relative gain.
        error = np.nan if left_out is None else float(jackknife_error(left_out.gain))
        rounding = ROUNDING * float(risks.teacher)
        chance = chance_below_zero(float(risks.gain), error, self.freedom, rounding)
        return PredictedRisks(**estimates, chance_fails=chance)
