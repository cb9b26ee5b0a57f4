r"""`measure_gain`: what students learn beyond their weak teacher, on the same test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.compute.base import Engine, no_advance
from w2s_data.encoders.backbone import Source
from w2s_data.errors import DegenerateDataWarning, InputError, unknown
from w2s_data.finetune.gain.checkpoint import Checkpoint
from w2s_data.finetune.gain.comparison import Comparer, read_forecast
from w2s_data.finetune.gain.inputs import GainData, check_gain_data
from w2s_data.finetune.gain.parallel import train_ahead
from w2s_data.finetune.gain.result import GainResult
from w2s_data.finetune.gain.training import Laboratory, name_methods, training_settings
from w2s_data.finetune.levels.whole import Adaptation
from w2s_data.finetune.methods.base import Method
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import AnyArray, RandomState
from w2s_data.utils.validation import check_seeds, root_seed
from w2s_data.utils.warnings import collect_warnings

LEVELS = ("head", "lora", "full")


def measure_gain(
    features: Any,
    weak_proba: Any,
    labels: AnyArray | Sequence[Any],
    splits: AnyArray | Sequence[str],
    *,
    methods: Sequence[str | Method] | Mapping[str, str | Method] = ("naive",),
    seeds: int | Sequence[int] = 5,
    level: str = "head",
    items: Sequence[Any] | None = None,
    groups: AnyArray | Sequence[Any] | None = None,
    class_names: Sequence[object] | None = None,
    forecast: Any = None,
    controls: bool = True,
    early_stopping: bool = False,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    checkpoint: str | Path | None = None,
    resume: bool = True,
    random_state: RandomState = 0,
    progress: bool | None = None,
    engine: Engine | None = None,
    **training: Any,
) -> GainResult:
    r"""Train students by several methods on weak labels, and measure what they gained.

    .. math::
        gain = A_{student} - A_{teacher}, \qquad
        PGR = \frac{A_{student} - A_{teacher}}{A_{ceiling} - A_{teacher}}, \qquad
        OPR = \frac{1 - A_{labelled}}{1 - A_{student}}

    with A the accuracy on the test rows, the ceiling the same student trained on gold labels of the
    pool, and A_labelled that of the same student trained on the labelled rows alone, for as many
    steps. PGR is 1 for a student as good as the ceiling and 0 for one as good as its teacher. OPR
    is above 1 where weak labels of the pool were worth more than the gold labels at hand.

    Parameters
    ----------
    features : array (N, D), memory map or FeatureStore; None with `items`
        Strong features of all rows, for level "head".
    weak_proba : array (N, C), or (N, M, C) of M teachers
        Pseudo-labels of all rows, or hard labels (N,). The gain is measured against their mean
        over teachers.
    labels : array (N,)
        Gold labels: codes, -1 where unknown; or names, None where unknown, with `class_names`.
        Needed for the test rows. Those of the pool are seen by the ceiling only.
    splits : array (N,)
        labelled, pool, validation or test.
    methods : sequence of names or Method, or mapping from name to these
    seeds : int or sequence of int
        Number of seeds, or their numbers.
    level : {"head", "lora", "full"}
        What is trained; see `fit_student`.
    items : sequence of N items, for levels "lora" and "full"
    groups : array (N,), optional
        Groups whose accuracies and worst accuracy are reported.
    class_names : sequence of C names, optional
        In the order of the columns of `weak_proba`.
    forecast : GainForecast, or a mapping with its entry "gain"; optional
        Shown beside the gain of the naively trained student.
    controls : bool
        Also train the controls of each method.
    early_stopping : bool
        Stop by the gold labels of the validation rows: a help that a team without labels does not
        have. Never by the test rows.
    confidence : float
        Coverage of the intervals.
    n_bootstrap : int
        Resamples of the test items.
    checkpoint : folder, optional
        Keeps each finished (method, seed); a later call with the same data and settings takes
        them up (`resume`) and trains the rest. More methods and more seeds may be added.
    resume : bool
        If False, what the folder holds is removed first.
    random_state : int, Generator or None
        With a checkpoint it must be an int.
    progress : bool or None
        Bar over methods and seeds; None draws it in a terminal.
    engine : Engine, optional
        Where students are trained, one task a method and seed; by default in this process. Any
        other needs a checkpoint.
    **training
        Passed on to `fit_student`: epochs, learning_rate, batch_size, l2, device, model ...

    Returns
    -------
    GainResult
        Intervals are for fresh test items and fresh seeds together; `to_frame` has each seed with
        an interval over items alone. Methods are ranked by gain; two share a letter in
        `rank_group` if their paired difference is not told from 0 (Bonferroni over the pairs).
        PGR is NaN with a reason unless ceiling minus teacher is at least .01 and its interval lies
        above 0, OPR unless the student's error is clearly above 0.

    Raises
    ------
    InputError
        Inputs that do not fit each other, unknown methods or settings, a checkpoint of another
        configuration. A method that cannot be trained (a diverging loss, nothing kept, too few
        teachers) does not raise: it is in `failures`, and the others keep their results.

    References
    ----------
    Burns et al., *Weak-to-Strong Generalization*, 2023 (PGR); Dong et al., *Discrepancies are
    Virtue*, 2025 (OPR).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from w2s_data import LinearProbe
    >>> digits = load_digits()
    >>> labels = (digits.target >= 5).astype(int)
    >>> splits = np.repeat(["labelled", "pool", "test"], [200, 900, 697])
    >>> splits = np.random.default_rng(0).permutation(splits)
    >>> left = digits.data.reshape(-1, 8, 8)[:, :, :4].reshape(-1, 32)  # all the teacher sees
    >>> known = splits == "labelled"
    >>> weak = LinearProbe().fit(left[known], labels[known]).predict_proba(left)
    >>> result = measure_gain(digits.data, weak, labels, splits, seeds=2)
    >>> result["naive"].gain.value > 0
    True
    """
    if checkpoint is None and engine is not None and engine.name != "local":
        raise InputError(f"engine {engine.name!r} keeps finished students in a checkpoint: name it")
    named = name_methods(methods)
    settings = training_settings(training, level)
    numbers = check_seeds(seeds)
    if level not in LEVELS:
        raise InputError(unknown("level", str(level), LEVELS))
    if (level == "head") == (features is None):
        raise InputError(f"level {level!r} trains on {'features' if level == 'head' else 'items'}")
    if level != "head" and settings.get("model") is None:
        raise InputError(
            f"level {level!r} trains a pretrained model: name it (--model FOLDER, model=)"
        )
    if not 0 < confidence < 1 or n_bootstrap < 100:
        raise InputError("confidence must lie in (0, 1), and n_bootstrap be at least 100")
    expected = read_forecast(forecast)
    entropy = _entropy(random_state, needed=checkpoint is not None)
    with collect_warnings(DegenerateDataWarning, reissue=True) as notes:
        data = check_gain_data(
            features,
            weak_proba,
            labels,
            splits,
            items=items,
            groups=groups,
            class_names=class_names,
        )
        configuration = {
            **settings,
            "random_state": entropy,
            "level": level,
            "controls": controls,
            "early_stopping": early_stopping,
        }
        if level != "head" and checkpoint is not None:
            configuration["weights"] = _identity(settings["model"])
        kept = _open_checkpoint(checkpoint, data, configuration, resume)
        settings |= {"random_state": entropy, "controls": controls, "progress": False}
        if early_stopping:
            settings["validation"] = _validation(data)
        n_students = (len(named) + 2) * len(numbers)
        with progress_bar("gain", n_students, "students", progress) as advance:
            laboratory = Laboratory(data, level, numbers, settings, kept, advance)
            if engine is not None and engine.name != "local":
                train_ahead(laboratory, named, engine)
                laboratory = replace(laboratory, advance=no_advance)
            ceiling, labelled_only = laboratory.ceiling(), laboratory.labelled_only()
            trained = {name: laboratory.method(name, method) for name, method in named.items()}
    comparer = Comparer(data, ceiling, labelled_only, confidence, n_bootstrap, entropy)
    naive = [name for name, method in named.items() if method.name == "naive"]
    return comparer.compare(
        trained, numbers, level, expected, naive[0] if naive else "", tuple(notes)
    )


def _entropy(random_state: RandomState, *, needed: bool) -> int:
    """The root of all random numbers; one that will be the same next time if needed."""
    if needed and not isinstance(random_state, int | np.integer):
        raise InputError(f"a checkpoint needs an int as random_state; got {random_state!r}")
    return root_seed(random_state)


def _open_checkpoint(
    folder: str | Path | None, data: GainData, configuration: Mapping[str, Any], resume: bool
) -> Checkpoint:
    if folder is None:
        return Checkpoint(None, {}, resume)
    machine = {"device", "resident_bytes"}  # where it is computed is no part of what is computed
    chosen = {name: value for name, value in configuration.items() if name not in machine}
    return Checkpoint(folder, {**data.fingerprint(), **chosen}, resume)


def _identity(model: Any) -> str:
    """Hash of a pretrained model's files, given as in `fit_student`."""
    source = model.source if isinstance(model, Adaptation) else Source(str(model))
    return source.identity()


def _validation(data: GainData) -> tuple[Any, AnyArray]:
    rows = data.known("validation")
    if not len(rows):
        raise InputError("early_stopping needs rows with labels in the validation split")
    return data.read(rows), data.labels[rows]
