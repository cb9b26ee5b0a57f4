"""`LabelModel`: the chance of each class from several teachers alone, without gold labels."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array
from scipy.special import softmax
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.errors import DegenerateDataWarning
from w2s_data.posterior.inputs import check_teachers, check_weak
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_parameters, nonnegative, positive, whole
from w2s_data.utils.votes import chance, mean_label, votes

FEWEST_TEACHERS = 3  # two confusion matrices and their agreement leave unknowns open
# Odds of the prior that a teacher names the true class rather than another one. Above 1 it settles
# which of the latent classes is which, since any permutation of them fits as well.
PRIOR_ODDS = 3.0
# Rules seldom vote on the same row, which is all that shows how right they are. On simulated rules
# 10 votes of prior lost to the majority vote in some draws, and 100 won less on average.
PARTIAL = 30.0
TINY = np.finfo(np.float64).tiny


class LabelModel(BaseEstimator):  # type: ignore[misc]
    r"""Estimate the reliability of teachers from their votes alone, and weigh the votes by it.

    .. math:: q_i(c) \propto \pi_c \prod_{m} \theta_m[c, v_{im}]

    with the class shares pi, the vote v of teacher m on row i and its confusion matrix theta, row c
    holding the chances of its votes on class c. Teachers are taken to be independent given the
    class. EM maximises the posterior of pi and theta from the start of a majority vote.

    A teacher that names every class is silent at random: its silence is left out. The silence of
    one that names only some of the classes, such as a rule for one keyword, is one of its answers,
    without which its votes would say nothing of the class. Only hard votes count, since teachers
    have probabilities of different sharpness. Rows on which nobody votes stay uniform.

    Parameters
    ----------
    strength : float
        Votes per class that the prior of a teacher counts for, 0 or more: votes in its own shares,
        three times as likely on the class that they name as on another. 30 times as many for
        teachers that name only some of the classes.
    max_iter : int
        Steps of EM at most.
    tol : float
        EM stops when no probability changes by more.

    Attributes
    ----------
    proba_ : array (N, C)
        Chance of each class of the fitted rows.
    class_shares_ : array (C,)
        Estimated shares of the classes among the rows on which somebody votes.
    confusions_ : array (M, C, C)
        Chances of the votes of each teacher by true class, where it votes; rows sum to 1.
    accuracy_ : array (M,)
        Expected share of right votes of each teacher, in [0, 1]; NaN for one that never votes.
    n_iter_ : int
        Steps that EM took; 0 where it was not run.

    Notes
    -----
    Fewer than three teachers that vote do not identify the model. A `DegenerateDataWarning` says
    so, and the result is the mean of those that vote. Teachers that copy each other break the
    independence: their common vote counts more than it should.

    References
    ----------
    Dawid, Skene, *Maximum likelihood estimation of observer error-rates using the EM algorithm*,
    Applied Statistics 28, 1979.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=5000)
    >>> right = rng.random((5000, 3)) < [0.9, 0.8, 0.6]
    >>> said = np.where(right, y[:, None], 1 - y[:, None])
    >>> model = LabelModel().fit(np.eye(2)[said])
    >>> model.confusions_.diagonal(axis1=1, axis2=2).mean(axis=1).round(1).tolist()
    [0.9, 0.8, 0.6]
    """

    def __init__(self, *, strength: float = 1.0, max_iter: int = 1000, tol: float = 1e-5) -> None:
        self.strength = strength
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, weak_proba: Any) -> Self:
        """Estimate shares and confusion matrices from probabilities (N, M, C) of M teachers."""
        limits = {"strength": nonnegative, "max_iter": whole(1), "tol": positive}
        check_parameters(self, limits)
        weak = check_weak(weak_proba, None)
        said = votes(weak)
        n_teachers, n_classes = weak.shape[1:]
        spoken = np.asarray((said >= 0).any(axis=1))
        self.named_ = np.stack([(said == c).any(axis=0) for c in range(n_classes)], axis=1)
        self.class_shares_ = np.full(n_classes, 1 / n_classes)
        self.chances_, self.n_iter_ = np.zeros((n_teachers, n_classes, n_classes + 1)), 0
        self.identified_ = int(self.named_.any(axis=1).sum()) >= FEWEST_TEACHERS
        if self.identified_:
            self._run(said[spoken])
        else:
            self._warn()
        self.proba_ = self.predict_proba(weak)
        self.accuracy_ = np.array(
            [_mean(chance(self.proba_, said[:, m])[said[:, m] >= 0]) for m in range(n_teachers)]
        )
        return self

    def predict_proba(self, weak_proba: Any) -> FloatArray:
        """Return the chance of each class (n, C) of rows with probabilities (n, M, C)."""
        check_is_fitted(self, "chances_")
        weak = check_weak(weak_proba, None)
        check_teachers(weak, self.named_.shape, "weak_proba", "the rows of the fit")
        if not self.identified_:
            return mean_label(weak)
        said = votes(weak)
        proba = self._proba(_indicators(said, self.named_.shape[1]))
        proba[(said < 0).all(axis=1)] = 1 / self.named_.shape[1]
        return proba

    @property
    def confusions_(self) -> FloatArray:
        """Chances (M, C, C) of votes by true class, where a teacher votes; NaN where it cannot."""
        cast = self.chances_[:, :, :-1]
        total = cast.sum(axis=2, keepdims=True)
        return np.asarray(np.divide(cast, total, out=np.full_like(cast, np.nan), where=total > 0))

    def _warn(self) -> None:
        n_voting = int(self.named_.any(axis=1).sum())
        voting = "1 teacher votes" if n_voting == 1 else f"{n_voting} teachers vote"
        warnings.warn(
            f"label model: {voting}, and fewer than {FEWEST_TEACHERS} do not tell how reliable "
            "each is: the mean of those that vote is used",
            DegenerateDataWarning,
            stacklevel=3,
        )

    def _run(self, said: IntArray) -> None:
        """Run EM on the votes (n, M) of rows on which somebody votes, each kind of row once."""
        n_classes = self.named_.shape[1]
        kinds, counts = np.unique(said, axis=0, return_counts=True)
        cast = _indicators(kinds, n_classes)
        prior = self._prior(cast, counts)
        # Votes in equal parts: the start that Dawid and Skene recommend.
        tally = np.stack([(kinds == c).sum(axis=1) for c in range(n_classes)], axis=1)
        proba = tally / tally.sum(axis=1, keepdims=True)
        while self.n_iter_ < self.max_iter:
            self.n_iter_ += 1
            self._maximise(cast, counts[:, None] * proba, prior)
            before, proba = proba, self._proba(cast)
            if np.abs(proba - before).max() <= self.tol:
                break
        else:
            warnings.warn(
                f"label model: EM did not converge in max_iter={self.max_iter} steps",
                DegenerateDataWarning,
                stacklevel=4,
            )

    def _prior(self, cast: csr_array, counts: IntArray) -> FloatArray:
        """Return pseudo-counts (M, C, C + 1) of the votes of each teacher, and of its silence."""
        n_teachers, n_classes = self.named_.shape
        shares = (cast.T @ counts).reshape(n_teachers, n_classes + 1) / counts.sum()
        odds = np.ones((n_classes, n_classes + 1))
        odds[:, :-1] += (PRIOR_ODDS - 1) * np.eye(n_classes)
        prior = shares[:, None, :] * odds
        # In votes, not in rows: a rule that votes on a row in twenty needs as firm a prior.
        total = prior.sum(axis=2, keepdims=True) * shares[:, :-1].sum(axis=1)[:, None, None]
        strength = self.strength * np.where(self.named_.all(axis=1), 1.0, PARTIAL)[:, None, None]
        pseudo = np.zeros_like(prior)
        return np.asarray(np.divide(strength * prior, total, out=pseudo, where=total > 0))

    def _maximise(self, cast: csr_array, weight: FloatArray, prior: FloatArray) -> None:
        """Set shares and chances from the weight (n, C) of each class on each kind of row."""
        n_teachers, n_classes = self.named_.shape
        counts = (cast.T @ weight).reshape(n_teachers, n_classes + 1, n_classes)
        table = counts.swapaxes(1, 2) + prior
        total = table.sum(axis=2, keepdims=True)
        self.chances_ = np.divide(table, total, out=np.zeros_like(table), where=total > 0)
        # One row of each class more, so that no class dies out.
        mass = weight.sum(axis=0) + 1
        self.class_shares_ = mass / mass.sum()

    def _proba(self, cast: csr_array) -> FloatArray:
        """Return the chance of each class (n, C) of rows by their votes."""
        evidence = np.log(np.maximum(self.chances_, TINY))
        random = np.asarray(self.named_.all(axis=1) | ~self.named_.any(axis=1))
        # Silent at random: votes count by their chances among votes, silence by nothing.
        own = np.where(random[:, None, None], self.confusions_, 1.0)
        evidence[random, :, :-1] = np.log(np.maximum(own, TINY))[random]
        evidence[random, :, -1] = 0
        logits = cast @ evidence.swapaxes(1, 2).reshape(-1, len(self.class_shares_))
        return np.asarray(softmax(logits + np.log(self.class_shares_), axis=1))


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _indicators(said: IntArray, n_classes: int) -> csr_array:
    """Return votes (n, M) as ones (n, M * (C + 1)), the last of each C + 1 for silence."""
    n, n_teachers = said.shape
    columns = np.where(said < 0, n_classes, said) + np.arange(n_teachers) * (n_classes + 1)
    starts = np.arange(n + 1) * n_teachers
    shape = n, n_teachers * (n_classes + 1)
    return csr_array((np.ones(said.size), columns.ravel(), starts), shape=shape)
