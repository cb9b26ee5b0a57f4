"""`fit_student`: train a student by any method at any level, and the `Student` it gives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.compute.device import resolve_device
from w2s_data.errors import FeatureError, InputError, RunError, rows, unknown
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.finetune.levels.adapters import USUAL, Adaptation, as_adaptation, train_whole
from w2s_data.finetune.levels.head import HeadModel, HeadTask, Solver
from w2s_data.finetune.loop import Callback
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.methods.registry import make_method
from w2s_data.finetune.objectives import Model
from w2s_data.finetune.preference import PairTask
from w2s_data.finetune.task import RESIDENT_BYTES, Pool, Task, TaskSettings
from w2s_data.finetune.teachers import as_teachers
from w2s_data.utils.io import atomic_path, jsonable, read_json, write_json
from w2s_data.utils.typing import AnyArray, FloatArray, RandomState
from w2s_data.utils.validation import check_seeds, root_seed

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ("head", "lora", "full")
SOLVERS = ("adam", "lbfgs")
SCHEMA_VERSION = 1
USUAL_EPOCHS = 20
LEAST_STEPS = 800  # with 400, methods that come to trust the student do so before it knows anything
MOST_STEPS, FEWEST_EPOCHS = 20_000, 2  # of a head, which has long converged by then
SHOWN_VALUES = 8  # diagnostics with at most so many numbers are written out


@dataclass(frozen=True, repr=False)
class Student:
    """A student of S seeds, trained by one method.

    Attributes
    ----------
    method : Method
    level : str
    classes : array (C,)
        What the columns of the probabilities mean.
    model : Model
    seeds : tuple of int
        Numbers of the seeds.
    history : DataFrame
        A row an epoch, seed and stage of the training: loss, validation loss, and what the method
        records. Empty for ``solver="lbfgs"``.
    diagnostics : dict
        The method's own; its docstring says what they are.
    controls : dict of Model
        Simpler students to compare with, on the same seeds; ``controls[name].proba(inputs)`` has
        shape (S, n, C).
    """

    method: Method
    level: str
    classes: AnyArray
    model: Model
    seeds: tuple[int, ...]
    history: pd.DataFrame
    diagnostics: Mapping[str, Any]
    controls: Mapping[str, Model]

    @property
    def n_seeds(self) -> int:
        """Number of seeds S."""
        return len(self.seeds)

    def seed_proba(self, inputs: Any) -> FloatArray:
        """Class probabilities (S, n, C), one student a seed."""
        return self.model.proba(inputs)

    def predict_proba(self, inputs: Any) -> FloatArray:
        """Class probabilities (n, C), averaged over the seeds."""
        return np.asarray(self.seed_proba(inputs).mean(axis=0))

    def predict(self, inputs: Any) -> AnyArray:
        """Most probable class (n,) of the average."""
        return np.asarray(self.classes[self.predict_proba(inputs).argmax(axis=1)])

    def to_dict(self) -> dict[str, Any]:
        """Settings and every diagnostic that is a number or a short array, as plain JSON types."""
        brief = {
            name: value
            for name, value in self.diagnostics.items()
            if isinstance(value, Mapping) or np.size(value) <= SHOWN_VALUES * self.n_seeds
        }
        return {
            "method": self.method.name,
            "parameters": jsonable(self.method.parameters()),
            "level": self.level,
            "classes": jsonable(self.classes),
            "seeds": list(self.seeds),
            "diagnostics": jsonable(brief),
            "controls": list(self.controls),
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model, its settings and its history: safetensors, JSON and Parquet.

        Controls and large diagnostics are left out.
        """
        from safetensors.numpy import save_file

        if not isinstance(self.model, HeadModel):
            raise InputError(f"a student of level {self.level!r} is saved by its own library")
        target = Path(folder)
        with atomic_path(target / "model.safetensors") as partial:
            save_file(self.model.tensors(), partial)
        with atomic_path(target / "history.parquet") as partial:
            self.history.to_parquet(partial)
        record = {"schema_version": SCHEMA_VERSION, "link": self.model.link, **self.to_dict()}
        write_json(target / "student.json", record)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Student:
        """Read what `save` wrote; controls are not among it.

        Raises
        ------
        RunError
            If the folder holds another schema.
        FileFormatError
            If a file is missing or damaged.
        """
        import pandas as pd
        from safetensors.numpy import load_file

        source = Path(folder)
        record = read_json(source / "student.json")
        if record.get("schema_version") != SCHEMA_VERSION:
            raise RunError(
                f"{os.fspath(source)!r} holds a student of schema {record.get('schema_version')}; "
                f"this version reads {SCHEMA_VERSION}"
            )
        return cls(
            method=make_method(record["method"], **record["parameters"]),
            level=record["level"],
            classes=np.asarray(record["classes"]),
            model=HeadModel.from_tensors(load_file(source / "model.safetensors"), record["link"]),
            seeds=tuple(record["seeds"]),
            history=pd.read_parquet(source / "history.parquet"),
            diagnostics=record["diagnostics"],
            controls={},
        )

    def __repr__(self) -> str:
        seeds = "1 seed" if self.n_seeds == 1 else f"{self.n_seeds} seeds"
        lines = [
            f"Student of {self.method!r}",
            f"  level {self.level}, {seeds}, {len(self.classes)} classes",
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
    teachers: Any,
    *,
    level: str = "head",
    items: Sequence[Any] | None = None,
    model: str | Adaptation | None = None,
    paired: bool = False,
    class_names: Sequence[object] | None = None,
    sample_weight: AnyArray | None = None,
    groups: AnyArray | None = None,
    validation: tuple[Any, Any] | None = None,
    seeds: int | Sequence[int] = 1,
    epochs: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    l2: float = 1e-3,
    solver: Solver = "adam",
    patience: int = 5,
    controls: bool = True,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    device: str = "auto",
    resident_bytes: int = RESIDENT_BYTES,
    random_state: RandomState = None,
    progress: bool | None = None,
    **parameters: Any,
) -> Student:
    """Train a student on the labels of weak teachers.

    Parameters
    ----------
    method : str or Method
        A name among `available_methods`, or a method with its parameters.
    features : array (N, D), memory map or FeatureStore; None for a whole model
        Strong features of the pool; standardised inside. Features of up to `resident_bytes` are
        held on the device, larger ones are read batch by batch. Whole models need them for
        `overlap` only.
    teachers : array (N, C), (N, M, C) or (N,), or a list of M such arrays
        Pseudo-labels: probabilities, or hard labels. Methods for one teacher take the mean of
        several. A class that no teacher predicts keeps its column and becomes improbable.
    level : {"head", "lora", "full"}
        What is trained: a linear head on frozen features; or a pretrained text model with a new
        head, through low-rank adapters or all its weights, one seed after another.
    items : sequence of N texts
        For whole models; `validation` and `seed_proba` then take texts as well.
    model : str or Adaptation
        For whole models: a folder or a name on the hub; an `Adaptation` says more, e.g. the rank
        of the adapters.
    paired : bool
        Features are those of preference pairs: train a reward, without an intercept, see
        `w2s_data.finetune.preference`.
    class_names : sequence of C names, optional
        By default 0 ... C - 1 for probabilities, the sorted labels for hard ones.
    sample_weight : array (N,), optional
        Non-negative; only ratios matter. Rows of weight 0 are left out of every training.
    groups : array (N,), optional
        Group of each point; methods that choose points report the shares of the groups.
    validation : (features, labels), optional
        Rows for early stopping, never the test rows: labels (V,), or probabilities (V, C). The
        epoch with the least cross-entropy counts, seed by seed.
    seeds : int or sequence of int
        Number of seeds, trained side by side, or their numbers: ``seeds=[3]`` is the fourth of
        ``seeds=5``, up to rounding (1e-5 in the probabilities).
    epochs : int, optional
        By default 20; on small pools so many that the student takes 800 steps, and on pools of more
        than 128,000 points so few that it takes 20,000, but 2 at least; 3 for whole models. Every
        training of a method takes ``ceil(N / batch_size) * epochs`` steps, however few rows it
        keeps.
    learning_rate, batch_size : float, int
        Of Adam; the rate falls to zero along half a cosine. By default 1e-3 and 128; 2e-4 (lora)
        or 2e-5 (full) and 32 for whole models.
    l2 : float
        Penalty l2/2 |W|² on standardised features, as in `LinearProbe`.
    solver : {"adam", "lbfgs"}
        "lbfgs" goes to the optimum of the penalised cross-entropy, for methods that minimise
        nothing else (`naive`, `bootstrap`, `overlap`, `crossfit`, `cosupervised`); epochs, seeds,
        validation and callbacks then have no effect on a training.
    patience : int
        Epochs without improvement after which a seed stops.
    controls : bool
        Train the method's controls as well.
    callbacks : sequence of callable
        Called with an `EpochEnd` after every epoch; True ends that training.
    checkpoint : folder, optional
        For whole models: keeps the state after every epoch, from which a killed call goes on.
    device : str
    resident_bytes : int
        Of the pool's features on the device, see there; the students are the same either way.
    random_state : int, Generator or None
        With an int the same call gives the same bytes.
    progress : bool or None
        None draws bars on a terminal only.
    **parameters
        Of the method.

    Raises
    ------
    InputError
        An unknown name, or data that do not fit together; says what was expected.
    TrainingError
        The loss is no longer a number; names the method and the step.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(400, 5))
    >>> weak = 1 / (1 + np.exp(-features[:, 0] - rng.normal(size=400)))
    >>> student = fit_student("naive", features, np.column_stack([1 - weak, weak]),
    ...                       seeds=2, random_state=0)
    >>> student
    Student of Naive(hard=False)
      level head, 2 seeds, 2 classes
      trainings (epochs): student (200)
    >>> student.predict([[3, 0, 0, 0, 0], [-3, 0, 0, 0, 0]])
    array([1, 0])
    """
    import pandas as pd

    chosen = make_method(method, **parameters)
    if level not in LEVELS:
        raise InputError(unknown("level", str(level), LEVELS))
    if solver not in SOLVERS:
        raise InputError(unknown("solver", str(solver), SOLVERS))
    table, classes = as_teachers(teachers, class_names)
    matrix = None if features is None else as_feature_matrix(features)
    n_rows = len(table)
    usual: dict[str, Any] = USUAL[level]
    batch_size = usual["batch_size"] if batch_size is None else batch_size
    learning_rate = usual["learning_rate"] if learning_rate is None else learning_rate
    if epochs is None:
        epochs = usual.get("epochs", _enough_epochs(n_rows, batch_size))
    settings = TaskSettings(
        name=chosen.name,
        entropy=root_seed(random_state),
        seeds=check_seeds(seeds),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        l2=l2,
        patience=patience,
        device=device,
        controls=controls,
        callbacks=tuple(callbacks),
        progress=progress,
        resident_bytes=resident_bytes,
    )
    _check_settings(settings)
    pool = Pool(table, _weights(sample_weight, n_rows), matrix, _groups(groups, n_rows))
    if level == "head":
        task = _head_task(pool, settings, solver, validation, classes, paired)
        outcome, history = chosen.fit(task), task.history
    else:
        if items is None or model is None:
            raise InputError(f"level {level!r} needs items (texts) and model (a pretrained one)")
        if paired:
            raise InputError("pairs are trained at level 'head', on the features of pairs")
        outcome, history = train_whole(
            chosen,
            pool,
            settings,
            as_adaptation(model, level),
            items,
            validation=_whole_validation(validation, classes),
            checkpoint=checkpoint,
        )
    return Student(
        chosen,
        level,
        classes,
        outcome.model,
        settings.seeds,
        pd.DataFrame(history),
        outcome.diagnostics,
        outcome.controls,
    )


def _head_task(
    pool: Pool,
    settings: TaskSettings,
    solver: Solver,
    validation: tuple[Any, Any] | None,
    classes: AnyArray,
    paired: bool,
) -> Task:
    import torch

    if pool.features is None:
        raise InputError("level 'head' needs features (N, D)")
    kind = PairTask if paired else HeadTask
    if pool.features.shape[0] != pool.n_rows:
        raise InputError(
            f"row counts disagree: features has {pool.features.shape[0]}, "
            f"teachers has {pool.n_rows}"
        )
    device = resolve_device(settings.device)
    if validation is None:
        return kind(pool, settings, device, solver=solver)
    held_out: FeatureMatrix = as_feature_matrix(validation[0], "validation features")
    if held_out.shape[1] != pool.features.shape[1]:
        raise FeatureError(
            f"validation features have {held_out.shape[1]} columns; the pool's have "
            f"{pool.features.shape[1]}"
        )
    labels = as_teachers(np.asarray(validation[1]), classes.tolist())[0].mean(axis=1)
    if len(labels) != held_out.shape[0]:
        raise InputError(
            f"row counts disagree: validation features has {held_out.shape[0]}, validation labels "
            f"has {len(labels)}"
        )
    targets = torch.tensor(labels, dtype=torch.float32, device=device)
    return kind(pool, settings, device, targets, solver=solver, validation_features=held_out)


def _whole_validation(
    validation: tuple[Any, Any] | None, classes: AnyArray
) -> tuple[Sequence[Any], FloatArray] | None:
    """Validation items and their labels as distributions (V, C)."""
    if validation is None:
        return None
    labels = as_teachers(np.asarray(validation[1]), classes.tolist())[0].mean(axis=1)
    if len(labels) != len(validation[0]):
        raise InputError(
            f"row counts disagree: validation has {len(validation[0])} items and "
            f"{len(labels)} labels"
        )
    return validation[0], labels


def _enough_epochs(n_rows: int, batch_size: int) -> int:
    """Epochs after which a head has learned what it can, on small and on very large pools."""
    steps_an_epoch = max(1, -(-n_rows // max(1, batch_size)))
    usual = min(USUAL_EPOCHS, max(FEWEST_EPOCHS, MOST_STEPS // steps_an_epoch))
    return max(usual, -(-LEAST_STEPS // steps_an_epoch))


def _check_settings(settings: TaskSettings) -> None:
    least = {"epochs": 1, "batch_size": 1, "patience": 1, "l2": 0}
    for name, low in least.items():
        value = getattr(settings, name)
        if not (isinstance(value, int | float) and low <= value < np.inf):
            raise InputError(f"{name} must be a number >= {low}; got {value!r}")
    if not 0 < settings.learning_rate < np.inf:
        raise InputError(f"learning_rate must be > 0; got {settings.learning_rate!r}")


def _weights(sample_weight: Any, n: int) -> FloatArray:
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n,):
        raise InputError(f"sample_weight must have shape ({n},); got {weights.shape}")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise InputError(f"sample_weight must be finite and >= 0; it is not in {rows(bad)}")
    if not weights.any():
        raise InputError("sample_weight is zero everywhere")
    return weights


def _groups(groups: Any, n: int) -> AnyArray | None:
    if groups is None:
        return None
    found = np.asarray(groups)
    if found.shape != (n,):
        raise InputError(f"groups must have shape ({n},); got {found.shape}")
    return found
