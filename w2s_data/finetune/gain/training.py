"""The students that `measure_gain` compares: trained seed by seed or all seeds at once."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from w2s_data.errors import DegenerateDataWarning, InputError, RunError, unknown
from w2s_data.finetune.gain.checkpoint import Checkpoint, Predictions
from w2s_data.finetune.gain.diagnostics import summarize_told, tell_seeds
from w2s_data.finetune.gain.inputs import GainData, lacking_gold
from w2s_data.finetune.gain.predictions import Predicted, predict_items
from w2s_data.finetune.levels.adapters import USUAL
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.methods.naive import Naive
from w2s_data.finetune.methods.registry import make_method
from w2s_data.finetune.objectives import Model, TrainingError
from w2s_data.finetune.student import _enough_epochs as enough_epochs
from w2s_data.finetune.student import fit_student
from w2s_data.utils.typing import FloatArray, IntArray

CEILING, LABELLED_ONLY = "ceiling", "labelled only"
MOST_KEPT = 20_000_000  # probabilities outside the test split that are kept of a seed
_OURS = (  # arguments of fit_student that are not settings
    *("level", "class_names", "groups", "validation", "sample_weight", "seeds", "controls"),
    *("callbacks", "random_state", "progress", "items", "checkpoint"),
)


@dataclass(frozen=True)
class Trained:
    """Test probabilities of a student and its controls, or why there are none.

    Attributes
    ----------
    proba : dict from control (or "" for the student) to array (S, n, C)
    failure : str
    predicted : Predicted or None
        Of a student of the teachers' labels: its answers item by item.
    told : dict
        What its method's diagnostics say; see `summarize_told`.
    """

    proba: Mapping[str, FloatArray]
    failure: str = ""
    predicted: Predicted | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Laboratory:
    """Trains students on the pool, always in the same way.

    Attributes
    ----------
    data : GainData
    level : str
    seeds : tuple of int
    settings : dict
        Arguments of `fit_student`.
    checkpoint : Checkpoint
    advance : callable
        Told the number of students (one a seed) that are done.
    """

    data: GainData
    level: str
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    checkpoint: Checkpoint
    advance: Callable[[int], None]

    def method(self, name: str, method: Method) -> Trained:
        """A student of the teachers' labels."""
        pool = self.data.rows("pool")
        groups = None if self.data.groups is None else self.data.groups[pool]
        return self._train(name, method, pool, self.data.teachers[pool], told=True, groups=groups)

    def ceiling(self) -> Trained:
        """The same student, trained on gold labels of the pool."""
        return self._train_on_gold(CEILING, "pool", self.settings["epochs"])

    def labelled_only(self) -> Trained:
        """The same student, trained for as many steps on the labelled rows alone."""
        steps = self.epochs * self._steps(len(self.data.rows("pool")))
        n_labelled = max(1, len(self.data.rows("labelled")))
        return self._train_on_gold(
            LABELLED_ONLY, "labelled", math.ceil(steps / self._steps(n_labelled))
        )

    @property
    def epochs(self) -> int:
        """Passes over the pool."""
        given = self.settings["epochs"]
        n_pool = len(self.data.rows("pool"))
        return enough_epochs(n_pool, self._batch_size) if given is None else int(given)

    @property
    def _batch_size(self) -> int:
        return int(self.settings["batch_size"])

    def _steps(self, n_rows: int) -> int:
        return math.ceil(n_rows / min(n_rows, self._batch_size))

    def _train_on_gold(self, name: str, split: str, epochs: int | None) -> Trained:
        lack = lacking_gold(self.data, split)
        if lack:
            self.advance(len(self.seeds))
            return Trained({}, f"not trained: {lack}")
        rows = self.data.rows(split)
        # Whatever else is wrong with the simplest student, e.g. a setting, is wrong with all.
        return self._train(
            name, Naive(hard=True), rows, self.data.gold(rows), TrainingError, epochs=epochs
        )

    def _train(
        self,
        name: str,
        method: Method,
        rows: IntArray,
        teachers: FloatArray,
        refused: type[InputError] = InputError,
        told: bool = False,
        **changes: Any,
    ) -> Trained:
        """Train the seeds that are not kept yet; `refused` is what makes it a failed student.

        With `told` the result also says what is predicted of each item, and how it was trained.
        """
        found: dict[int, Predictions] = {}
        for seed in self.seeds:
            kept = self.checkpoint.read(name, method, seed)
            if kept is not None:
                found[seed] = kept
        self.advance(len(found))
        missing = [seed for seed in self.seeds if seed not in found]
        together = [missing] if self.level == "head" and missing else [[s] for s in missing]
        for seeds in together:
            try:
                done = self._fit(name, method, rows, teachers, seeds, told, changes)
            except RunError:
                raise
            except refused as error:
                self.advance(len([seed for seed in self.seeds if seed not in found]))
                return Trained({}, str(error))
            for seed, predictions in done.items():
                self.checkpoint.write(name, method, seed, predictions)
            found |= done
            self.advance(len(done))
        ordered = [found[seed] for seed in self.seeds]
        models = ordered[0].test
        proba = {model: np.stack([each.test[model] for each in ordered]) for model in models}
        if not told:
            return Trained(proba)
        if any(each.rest is None for each in ordered) and self._asks_all:
            warnings.warn(
                "students of an earlier version, which kept their test rows alone, were taken up; "
                "train anew (resume=False) to know what they say of the other items",
                DegenerateDataWarning,
                stacklevel=2,
            )
        said = summarize_told([each.told for each in ordered])
        return Trained(proba, predicted=predict_items(self.data, ordered), told=said)

    def _fit(
        self,
        name: str,
        method: Method,
        rows: IntArray,
        teachers: FloatArray,
        seeds: Sequence[int],
        told: bool,
        changes: Mapping[str, Any],
    ) -> dict[int, Predictions]:
        data = self.data
        inputs = data.read(rows)
        features = inputs if self.level == "head" else None
        if features is None:
            folder = self.checkpoint.trainings(name)
            changes = {**changes, "items": inputs, "checkpoint": folder}
        student = fit_student(
            method,
            features,
            teachers,
            level=self.level,
            class_names=data.class_names,
            seeds=seeds,
            **{**self.settings, **changes},
        )
        test = data.read(data.rows("test"))
        models = {"": student.model, **student.controls}
        proba = {name: model.proba(test) for name, model in models.items()}
        rest = self._rest(student.model) if told else None
        said = tell_seeds(student, data) if told else [{}] * len(seeds)
        return {
            seed: Predictions(
                {name: each[i] for name, each in proba.items()},
                None if rest is None else rest[i],
                said[i],
            )
            for i, seed in enumerate(seeds)
        }

    def _rest(self, model: Model) -> FloatArray | None:
        """Probabilities (S, N - n, C) of all but the test rows, unless they cost too much."""
        if not self._asks_all:
            return None
        return model.proba(self.data.read(np.flatnonzero(self.data.splits != "test")))

    @property
    def _asks_all(self) -> bool:
        n_others = int(np.count_nonzero(self.data.splits != "test"))
        return self.level == "head" and n_others * len(self.data.class_names) <= MOST_KEPT


def name_methods(methods: Sequence[str | Method] | Mapping[str, str | Method]) -> dict[str, Method]:
    """Methods by the name under which the table shows them.

    Raises
    ------
    InputError
        If there is none, one is unknown, or two would have the same name.
    """
    if isinstance(methods, str | Method):
        methods = [methods]
    if isinstance(methods, Mapping):
        named = [(name, make_method(method)) for name, method in methods.items()]
    else:
        made = [make_method(method) for method in methods]
        named = [(method.name, method) for method in made]
    names = [name for name, _ in named]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"method {repeated[0]!r} is given twice: name the variants, as in "
            f"methods={{'{repeated[0]} A': ..., '{repeated[0]} B': ...}}"
        )
    taken = {CEILING, LABELLED_ONLY, "teacher"} & set(names)
    if taken or not names:
        raise InputError(f"methods must have names other than {taken}" if taken else "no methods")
    return dict(named)


def training_settings(given: Mapping[str, Any], level: str) -> dict[str, Any]:
    """Arguments of `fit_student` as they will be used, the defaults among them."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(fit_student).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in _OURS
    }
    for name in given:
        if name not in parameters:
            raise InputError(unknown("training setting", name, list(parameters)))
    usual = {name: parameter.default for name, parameter in parameters.items()}
    return {**usual, **USUAL.get(level, {}), **given}
