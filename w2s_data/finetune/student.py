"""`fit_student`: train a student by any method; and the `Student` that it returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import InputError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.finetune.levels.adapters import JoinedModel, WholeModel
from w2s_data.finetune.levels.head import HeadTask
from w2s_data.finetune.levels.linear import HeadModel
from w2s_data.finetune.levels.precision import is_main
from w2s_data.finetune.levels.saved import HEAD, load_whole, save_whole
from w2s_data.finetune.levels.shared import train_together
from w2s_data.finetune.levels.store import read_student, write_student
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.methods.registry import make_method
from w2s_data.finetune.objectives import Model
from w2s_data.finetune.pool import make_pool, without_gold
from w2s_data.finetune.preference import PairTask
from w2s_data.finetune.settings import SETTING_NAMES, TrainingSettings, Tuning
from w2s_data.finetune.weak_labels import as_weak_proba
from w2s_data.utils.io import atomic_path, jsonable
from w2s_data.utils.reading import parsing, reading
from w2s_data.utils.typing import AnyArray, FloatArray, RandomState
from w2s_data.utils.validation import check_seeds, root_seed

SHOWN_VALUES = 8  # larger diagnostics (weights per point, paths) are left out of text and JSON


@dataclass(frozen=True, repr=False)
class Student:
    """A student of S seeds, trained by one method.

    `history` has one row per epoch, seed and stage of the training: loss, validation loss, and
    numbers of the method; an optimum that is computed has none. `controls` are simpler students to
    compare with, on the same seeds; ``controls[name].proba(inputs)`` has shape (S, n, C).
    """

    method: Method
    tuning: Tuning
    classes: AnyArray  # (C,), the meaning of the columns of probabilities
    model: Model
    seeds: tuple[int, ...]
    history: pd.DataFrame
    diagnostics: Mapping[str, Any]  # described by the method's docstring
    controls: Mapping[str, Model]
    l2: float  # the penalty, given or chosen

    @property
    def n_seeds(self) -> int:
        """Number of seeds S."""
        return len(self.seeds)

    def seed_proba(self, inputs: Any) -> FloatArray:
        """Return class probabilities (S, n, C), one student per seed."""
        return self.model.proba(inputs)

    def predict_proba(self, inputs: Any) -> FloatArray:
        """Return class probabilities (n, C), averaged over the seeds."""
        if not isinstance(self.model, HeadModel):
            return np.asarray(self.seed_proba(inputs).mean(axis=0))
        features = as_feature_matrix(inputs)
        self.model.check_width(features.shape[1])
        proba = np.empty((features.shape[0], len(self.classes)), dtype=np.float32)
        # Without the probabilities of each seed, which of many rows would not fit into memory.
        for part, block in features.blocks():
            proba[part] = self.model.mean_proba(block, part.start)
        return proba

    def predict(self, inputs: Any) -> AnyArray:
        """Return the most probable class (n,) of the average."""
        return np.asarray(self.classes[self.predict_proba(inputs).argmax(axis=1)])

    def to_dict(self) -> dict[str, Any]:
        """Return settings, and diagnostics that are numbers or short arrays, as JSON types."""
        brief = {
            name: value
            for name, value in self.diagnostics.items()
            if isinstance(value, Mapping) or np.size(value) <= SHOWN_VALUES * self.n_seeds
        }
        return {
            "method": self.method.name,
            "parameters": jsonable(self.method.parameters()),
            "tuning": self.tuning,
            "classes": jsonable(self.classes),
            "seeds": list(self.seeds),
            "diagnostics": jsonable(brief),
            "controls": list(self.controls),
            "l2": self.l2,
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model, its settings and its history: safetensors, JSON and Parquet.

        A head is one file for all seeds. A whole model is a folder that peft ("lora") or
        transformers ("full") opens by itself, with the head beside; it is saved for one seed.
        Controls and large diagnostics are left out. With several processes, all must call it, and
        the first writes.
        """
        if is_main():
            with atomic_path(Path(folder) / "history.parquet") as partial:
                self.history.to_parquet(partial)
        if isinstance(self.model, HeadModel):
            record = {"link": self.model.link, **self.to_dict()}
            if is_main():
                write_student(folder, self.model.tensors(), record)
            return
        models = self.model.models if isinstance(self.model, JoinedModel) else (self.model,)
        if len(models) > 1 or not isinstance(models[0], WholeModel):
            raise InputError(
                f"a student of tuning {self.tuning!r} is saved for one seed; this one has "
                f"{self.n_seeds}: train it with seeds=1"
            )
        save_whole(models[0], folder, self.to_dict())

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], device: str = "auto", base: str | None = None
    ) -> Student:
        """Read a student that `save` wrote, without controls.

        `base` is the folder of the pretrained model under adapters, if it has moved. Missing or
        damaged files are a `FileFormatError`, another schema or another pretrained model than the
        one that was tuned a `RunError`.
        """
        model: Model
        if (Path(folder) / HEAD).exists():
            model, record = load_whole(folder, device, base)
        else:
            arrays, record = read_student(folder, "method")
            with parsing(os.fspath(folder), "a student"):
                model = HeadModel.from_tensors(arrays, record["link"])
        history = Path(folder) / "history.parquet"
        with reading(history, "the history of a student"):
            table = pd.read_parquet(history)
        with parsing(os.fspath(folder), "a student"):
            return cls(
                method=make_method(record["method"], **record["parameters"]),
                tuning=record["tuning"],
                classes=np.asarray(record["classes"]),
                model=model,
                seeds=tuple(record["seeds"]),
                history=table,
                diagnostics=record["diagnostics"],
                controls={},
                l2=record["l2"],
            )

    def __repr__(self) -> str:
        seeds = "1 seed" if self.n_seeds == 1 else f"{self.n_seeds} seeds"
        lines = [
            f"Student of {self.method!r}",
            f"  tuning {self.tuning}, {seeds}, {len(self.classes)} classes",
        ]
        if len(self.history):
            ends = self.history.groupby("stage", sort=False)["epoch"].max() + 1
            stages = ", ".join(f"{stage} ({epochs})" for stage, epochs in ends.items())
            lines.append(f"  trainings (epochs): {stages}")
        for name, value in self.diagnostics.items():
            if not isinstance(value, Mapping) and np.size(value) <= SHOWN_VALUES:
                lines.append(f"  {name}: {np.array2string(np.asarray(value), precision=3)}")
        if self.controls:
            lines.append(f"  controls: {', '.join(self.controls)}")
        return "\n".join(lines)


def fit_student(
    method: str | Method,
    features: Any,
    weak_proba: Any,
    *,
    settings: TrainingSettings | None = None,
    items: Sequence[Any] | None = None,
    class_names: Sequence[object] | None = None,
    gold: AnyArray | None = None,
    posterior: FloatArray | None = None,
    sample_weight: AnyArray | None = None,
    groups: AnyArray | None = None,
    sources: AnyArray | None = None,
    validation: tuple[Any, Any] | None = None,
    seeds: int | Sequence[int] = 1,
    random_state: RandomState = None,
    progress: bool | None = None,
    name: str | None = None,
    **changes: Any,
) -> Student:
    """Train a student on the labels of weak teachers, and on gold labels where the method can.

    Parameters
    ----------
    method : str or Method
        A name among `available_methods`, or a method with its parameters.
    features : array (N, D), memory map or FeatureStore; None for a whole model
        Strong features of the pool; standardised inside. Whole models need them for `overlap` only.
    weak_proba : array (N, C), (N, M, C) or (N,), or a list of M such arrays
        Pseudo-labels of one or M teachers: probabilities, or hard labels. Methods for one teacher
        take the mean of several. A class that no teacher predicts keeps its column and becomes
        improbable. Rows on which all teachers abstain (equal probabilities) are left out.
    settings : TrainingSettings, optional
        Trained part, duration and learning rate; by default a linear head.
    items : sequence of N texts, images, or pairs (first, second[, prompt]) of texts or messages
        For whole models; `validation` and `seed_proba` then take such items as well.
    class_names : sequence of C names, optional
        By default 0 ... C - 1 for probabilities, the sorted labels for hard ones.
    gold : int array (N,), optional
        Gold labels as class codes, -1 where there is none; weak labels of these rows must be held
        out where the teacher learned from them. `stacked` and `labelled_only` need them; all other
        methods leave the rows out.
    posterior : array (N, C), optional
        From a `LabelPosterior`, for methods that use it; by default one is fitted to the rows,
        which knows of no `relabel`.
    sample_weight : array (N,), optional
        Non-negative; only ratios matter. Rows of weight 0 are left out of every training.
    groups : array (N,), optional
        Group of each point; methods that choose points report the shares of the groups.
    sources : array (N,), optional
        Source of each point, for methods that treat sources alike.
    validation : (features, labels), optional
        Rows for early stopping, never the test rows: labels (V,), or probabilities (V, C). The
        epoch with the least cross-entropy counts, seed by seed.
    seeds : int or sequence of int
        Number of seeds, trained side by side, or their numbers: ``seeds=[3]`` is the fourth of
        ``seeds=5``, up to rounding (1e-5 in the probabilities).
    random_state : int, Generator or None
        With an int the same call gives the same bytes.
    progress : bool or None
        None draws bars on a terminal only.
    name : str, optional
        Name of the student in messages and progress; by default that of the method.
    **changes
        Single settings, which override `settings`, and parameters of the method.

    Raises
    ------
    InputError
        If a name is unknown or data do not fit together; says what was expected.
    TrainingError
        If the loss is no longer a number; names the method and the step.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(400, 5))
    >>> weak = 1 / (1 + np.exp(-features[:, 0] - rng.normal(size=400)))
    >>> student = fit_student("naive", features, np.column_stack([1 - weak, weak]),
    ...                       seeds=2, random_state=0)
    >>> student
    Student of Naive(hard=False)
      tuning head, 2 seeds, 2 classes
      trainings (epochs): student (200)
    >>> student.predict([[3, 0, 0, 0, 0], [-3, 0, 0, 0, 0]])
    array([1, 0])
    """
    own = {name: changes.pop(name) for name in SETTING_NAMES if name in changes}
    given = (settings or TrainingSettings()).replace(**own)
    chosen = make_method(method, **changes)
    labels, classes = as_weak_proba(weak_proba, class_names)
    pool = make_pool(
        labels,
        features,
        sample_weight=sample_weight,
        groups=groups,
        sources=sources,
        gold=gold,
        posterior=posterior,
    )
    if not chosen.uses_gold:
        pool, items = without_gold(pool, items)
    resolved, called = given.resolve(pool.n_rows), name or chosen.name
    entropy, numbers = root_seed(random_state), check_seeds(seeds)
    if given.tuning == "head":
        inputs, targets = _held_out(validation, classes, as_feature_matrix)
        kind = PairTask if given.paired else HeadTask
        task = kind(
            *(pool, resolved, called, entropy, numbers, progress, targets),
            validation_features=inputs,
        )
        resolved = task.settle(lambda: chosen.targets(task), chosen.trusted)
        outcome, history = chosen.fit(task), task.history
    else:
        if items is None:
            raise InputError(f"tuning {given.tuning!r} reads texts or images: pass items")
        inputs, targets = _held_out(validation, classes, list)
        outcome, history = train_together(
            *(chosen, pool, resolved, items, inputs or (), targets),
            entropy=entropy,
            seeds=numbers,
            progress=progress,
            name=called,
        )
    return Student(
        chosen,
        given.tuning,
        classes,
        outcome.model,
        numbers,
        pd.DataFrame(history),
        outcome.diagnostics,
        outcome.controls,
        float(resolved.l2),
    )


def choose_l2(
    method: Method,
    features: Any,
    weak_proba: Any,
    *,
    settings: TrainingSettings,
    gold: AnyArray | None = None,
    posterior: FloatArray | None = None,
    random_state: RandomState = None,
) -> float:
    """Return the penalty of a head that `fit_student` chooses by l2 "cv", the same for all seeds.

    Arguments are those of `fit_student`. Methods that train on the same labels share a penalty.
    """
    labels = as_weak_proba(weak_proba)[0]
    pool = make_pool(labels, features, gold=gold, posterior=posterior)
    if not method.uses_gold:
        pool, _ = without_gold(pool, None)
    kind = PairTask if settings.paired else HeadTask
    task = kind(pool, settings.resolve(pool.n_rows), method.name, root_seed(random_state))
    return task.choose_penalty(*method.targets(task))


def _held_out(
    validation: tuple[Any, Any] | None, classes: AnyArray, read: Callable[[Any], Any]
) -> tuple[Any, FloatArray | None]:
    """Validation rows as `read` returns them, and their labels as distributions (V, C)."""
    if validation is None:
        return None, None
    inputs = read(validation[0])
    labels = as_weak_proba(np.asarray(validation[1]), classes.tolist())[0].mean(axis=1)
    n_rows = len(inputs) if isinstance(inputs, list) else inputs.shape[0]
    if len(labels) != n_rows:
        raise InputError(
            f"row counts disagree: validation has {n_rows} rows and {len(labels)} labels"
        )
    return inputs, labels
