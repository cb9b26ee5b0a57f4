"""`fit_student`: train a student of values by any method; and the `Student` that it returns."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import InputError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.finetune.levels.saved import HEAD
from w2s_data.finetune.levels.store import read_student, write_student
from w2s_data.finetune.objectives import TrainingError
from w2s_data.finetune.settings import SETTING_NAMES, TrainingSettings, Tuning
from w2s_data.regression.heads import HEADS, Head, LinearValues, train_head
from w2s_data.regression.inputs import (
    check_gold_values,
    check_weak_errors,
    check_weak_values,
)
from w2s_data.regression.material import Lesson, Material
from w2s_data.regression.methods import ValueMethod, make_method
from w2s_data.regression.whole import WholeValues, train_values
from w2s_data.utils.io import jsonable
from w2s_data.utils.reading import parsing
from w2s_data.utils.typing import AnyArray, FloatArray, RandomState
from w2s_data.utils.validation import (
    check_parameters,
    check_seeds,
    check_weights,
    one_of,
    positive,
    root_seed,
)

HUBER_DELTA = 1.345  # 95 % as efficient as the squared error on normal residuals


@dataclass(frozen=True, repr=False)
class Student:
    """A student of S seeds that predicts values.

    `history` has one row per epoch and seed of heads and models that are trained step by step.
    """

    method: ValueMethod
    tuning: Tuning
    head: Head
    model: LinearValues | WholeValues
    seeds: tuple[int, ...]
    penalty: float | None = None  # of a head
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def seed_values(self, inputs: Any) -> FloatArray:
        """Return values (S, n), one student per seed."""
        return self.model.predict(inputs)

    def predict(self, inputs: Any) -> FloatArray:
        """Return values (n,) of features, or of items for whole models, averaged over the seeds."""
        return np.asarray(self.seed_values(inputs).mean(axis=0))

    def kept(self) -> Student:
        """Return the student to keep: of a whole model the first seed, out of memory until used."""
        if not isinstance(self.model, WholeValues):
            return self
        # The method's own diagnostics have no axis of seeds; those of a training are arrays.
        first = {
            name: value[:1] if isinstance(value, np.ndarray) else value
            for name, value in self.diagnostics.items()
        }
        model = self.model.only(0).shelved()
        return replace(self, model=model, seeds=self.seeds[:1], diagnostics=first)

    def to_dict(self) -> dict[str, Any]:
        """Return settings and diagnostics as JSON types."""
        return {
            "task": "regression",
            "method": self.method.name,
            "parameters": jsonable(self.method.parameters()),
            "tuning": self.tuning,
            "head": self.head,
            "seeds": list(self.seeds),
            "penalty": self.penalty,
            "diagnostics": jsonable(dict(self.diagnostics)),
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model and its record: safetensors and JSON; a whole model as its folder."""
        if isinstance(self.model, WholeValues):
            self.model.save(folder, self.to_dict())
            return
        tensors = {"coef": self.model.coef, "intercept": self.model.intercept}
        write_student(folder, {k: np.array(v) for k, v in tensors.items()}, self.to_dict())

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], device: str = "auto", base: str | None = None
    ) -> Student:
        """Read a student that `save` wrote.

        `base` is the folder of the pretrained model under adapters, if it has moved.
        """
        model: LinearValues | WholeValues
        if (Path(folder) / HEAD).exists():
            model, record = WholeValues.load(folder, device, base)
        else:
            tensors, record = read_student(folder, "method")
            with parsing(os.fspath(folder), "a student of values"):
                model = LinearValues(tensors["coef"], tensors["intercept"])
        with parsing(os.fspath(folder), "a student of values"):
            return cls(
                method=make_method(record["method"], **record["parameters"]),
                tuning=record["tuning"],
                head=record["head"],
                model=model,
                seeds=tuple(record["seeds"]),
                penalty=record["penalty"],
                diagnostics=record["diagnostics"],
            )

    def __repr__(self) -> str:
        seeds = "1 seed" if len(self.seeds) == 1 else f"{len(self.seeds)} seeds"
        shown = [f"  {name}: {value}" for name, value in self.diagnostics.items()]
        how = f"tuning {self.tuning}"
        if self.penalty is not None:
            how = f"head {self.head}, penalty {self.penalty:.3g}"
        return "\n".join([f"Student of {self.method!r}", f"  values, {how}, {seeds}", *shown])


def fit_student(
    method: str | ValueMethod,
    features: Any,
    weak_values: Any,
    *,
    targets: AnyArray | None = None,
    weak_errors: Any = None,
    posterior: tuple[Any, Any] | None = None,
    sample_weight: AnyArray | None = None,
    items: Sequence[Any] | None = None,
    settings: TrainingSettings | None = None,
    head: Head = "ridge",
    delta: float = HUBER_DELTA,
    validation: tuple[Any, Any] | None = None,
    seeds: int | Sequence[int] = 1,
    random_state: RandomState = None,
    progress: bool | None = None,
    name: str | None = None,
    **changes: Any,
) -> Student:
    """Train a student on the values of weak teachers, and on gold values where the method can.

    Parameters
    ----------
    method : str or ValueMethod
        A name among `available_methods`, or a method with its parameters.
    features : array (N, D), memory map or FeatureStore; None for a whole model
        Strong features; whole models need them for `stacked` without a posterior, and `crossfit`.
    weak_values : array (N,) or (N, M)
        Values of one or M teachers, NaN where they abstain.
    targets : array (N,), optional
        Gold values, NaN where there is none. Weak values of these rows must be held out where the
        teacher learned from them. `stacked` and `labelled_only` need them; the others leave these
        rows out.
    weak_errors : array (N,) or (N, M), optional
        Standard errors of the weak values.
    posterior : (values (N,), errors (N,)), optional
        From a `ValuePosterior`, for `stacked`; by default one is fitted to the rows, which knows
        of no `relabel`.
    sample_weight : array (N,), optional
        Rows of weight 0 are left out.
    items : sequence of N texts or images, for whole models
    settings : TrainingSettings, optional
        Trained part, duration and learning rate; by default a linear head.
    head : {"ridge", "ridgeless", "squared", "huber"}
        "ridge" is in closed form, its penalty chosen by rows left out; "ridgeless" the least-norm
        solution; the others are trained by steps on standardised features and targets, as whole
        models are ("squared" for all but "huber").
    delta : float
        Residual from which Huber's loss is linear, in standard deviations of the target.
    validation : (features or items, values), optional
        Rows for early stopping of students that are trained by steps, never the test rows: the
        epoch with the least squared error counts, seed by seed.
    seeds : int or sequence of int
        Closed forms are the same for all seeds.
    random_state : int, Generator or None
    progress : bool or None
    name : str, optional
        Name of the student in messages; by default that of the method.
    **changes
        Single settings, which override `settings`, and parameters of the method.

    Raises
    ------
    InputError
        If a name is unknown, or data do not fit together.
    TrainingError
        If there is nothing to train on, or the loss is no longer a number.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 3))
    >>> weak = 2 * x[:, 0] + rng.normal(size=300)
    >>> student = fit_student("naive", x, weak)
    >>> student.predict([[1.0, 0.0, 0.0]]).round()
    array([2.])
    """
    own = {key: changes.pop(key) for key in SETTING_NAMES if key in changes}
    given = (settings or TrainingSettings()).replace(**own)
    check_parameters({"head": head, "delta": delta}, {"head": one_of(*HEADS), "delta": positive})
    chosen = make_method(method, **changes)
    entropy, numbers = root_seed(random_state), check_seeds(seeds)
    material = make_material(
        features,
        weak_values,
        targets=targets,
        weak_errors=weak_errors,
        posterior=posterior,
        sample_weight=sample_weight,
        seed=entropy,
    )
    return train_student(
        chosen,
        material,
        settings=given,
        head=head,
        delta=delta,
        items=items,
        validation=validation,
        entropy=entropy,
        seeds=numbers,
        progress=progress,
        name=name or chosen.name,
    )


def make_material(
    features: Any,
    weak_values: Any,
    *,
    targets: Any,
    weak_errors: Any,
    posterior: tuple[Any, Any] | None,
    sample_weight: Any,
    seed: int,
) -> Material:
    """Check what is known of N rows."""
    n = len(weak_values)
    weak = check_weak_values(weak_values, n)
    matrix = None if features is None else as_feature_matrix(features)
    if matrix is not None and matrix.shape[0] != n:
        raise InputError(f"row counts disagree: features has {matrix.shape[0]}, weak_values {n}")
    joined = None
    if posterior is not None:
        values, errors = (check_gold_values(part, n, "posterior") for part in posterior)
        joined = values, errors
    return Material(
        weak,
        check_weak_errors(weak_errors, weak),
        check_gold_values(targets, n),
        check_weights(sample_weight, n),
        matrix,
        joined,
        seed,
    )


def train_student(
    method: ValueMethod,
    material: Material,
    *,
    settings: TrainingSettings,
    head: Head,
    delta: float,
    items: Sequence[Any] | None,
    entropy: int,
    seeds: tuple[int, ...],
    progress: bool | None,
    name: str,
    validation: tuple[Any, Any] | None = None,
) -> Student:
    """Train a student on the lesson of a method."""
    lesson = method.lesson(material)
    how: dict[str, Any] = {
        "settings": settings,
        "entropy": entropy,
        "seeds": seeds,
        "name": name,
        "validation": validation,
    }
    if settings.tuning != "head":
        whole = _tune(lesson, items, delta, head, progress, how)
        shown = {**lesson.diagnostics, **whole.diagnostics}
        history = pd.DataFrame(list(whole.history))
        return Student(
            method, settings.tuning, head, whole, seeds, history=history, diagnostics=shown
        )
    features = material.read(np.arange(len(material.targets)), "a head")
    model, penalty, steps = train_head(features, lesson, head, delta=delta, **how)
    return Student(
        *(method, "head", head, model, seeds, penalty),
        pd.DataFrame(steps),
        dict(lesson.diagnostics),
    )


def _tune(
    lesson: Lesson,
    items: Sequence[Any] | None,
    delta: float,
    head: Head,
    progress: bool | None,
    how: Mapping[str, Any],
) -> WholeValues:
    """Tune a whole model on the rows of a lesson."""
    if items is None:
        raise InputError(f"tuning {how['settings'].tuning!r} reads texts or images: pass items")
    if len(lesson.capacities) > 1:
        raise TrainingError(
            "bootstrap limits the directions of features: it needs tuning 'head'; a whole model "
            "has none to limit"
        )
    return train_values(
        [items[row] for row in lesson.rows],
        lesson.values,
        lesson.weights,
        loss="huber" if head == "huber" else "squared",
        delta=delta,
        progress=progress,
        **how,
    )
