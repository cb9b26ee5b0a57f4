r"""`measure_gain`: the gain of students over their weak teacher, on the same test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.compute.base import Engine
from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.finetune.gain.checkpoint import Checkpoint
from w2s_data.finetune.gain.comparison import Comparer, read_forecast
from w2s_data.finetune.gain.data import GainData, check_gain_data
from w2s_data.finetune.gain.parallel import train_ahead
from w2s_data.finetune.gain.predictions import predictions_table
from w2s_data.finetune.gain.result import GainResult
from w2s_data.finetune.gain.training import GOLD_SPLITS, Laboratory, Trained, name_methods
from w2s_data.finetune.levels.precision import n_processes
from w2s_data.finetune.levels.together import led
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.objectives import TrainingError
from w2s_data.finetune.settings import TrainingSettings
from w2s_data.finetune.task import fit_posterior
from w2s_data.utils import lock
from w2s_data.utils.intervals import LEVEL
from w2s_data.utils.io import make_folder
from w2s_data.utils.progress import no_advance
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import AnyArray, FloatArray, RandomState
from w2s_data.utils.validation import check_seeds, root_seed
from w2s_data.utils.warnings import collect_warnings


@led
def measure_gain(
    features: Any,
    weak_proba: Any,
    labels: AnyArray | Sequence[Any],
    splits: AnyArray | Sequence[str],
    *,
    methods: Sequence[str | Method] | Mapping[str, str | Method] = ("stacked", "naive"),
    seeds: int | Sequence[int] = 5,
    settings: TrainingSettings | None = None,
    items: Sequence[Any] | None = None,
    groups: AnyArray | Sequence[Any] | None = None,
    sources: AnyArray | Sequence[Any] | None = None,
    class_names: Sequence[object] | None = None,
    posterior: FloatArray | None = None,
    test_by: AnyArray | Sequence[Any] | None = None,
    forecast: Any = None,
    early_stopping: bool = False,
    level: float = LEVEL,
    n_resamples: int = 1000,
    resume: bool = True,
    random_state: RandomState = 0,
    progress: bool | None = None,
    engine: Engine | None = None,
    **changes: Any,
) -> GainResult:
    r"""Train students by several methods on weak labels, and measure what they gained.

    .. math::
        gain = A_{student} - A_{teacher}, \qquad
        PGR = \frac{A_{student} - A_{teacher}}{A_{ceiling} - A_{teacher}}, \qquad
        OPR = \frac{1 - A_{labelled}}{1 - A_{student}}

    with A the accuracy on the test rows, the ceiling the same student trained on gold labels of the
    pool, and A_labelled that of the same student trained on the labelled rows alone, for as many
    steps. Methods such as `stacked` train on the pool and the labelled rows together. PGR is 1 for
    a student as good as the ceiling and 0 for one as good as its teacher. OPR is above 1 where weak
    labels of the pool were worth more than the gold labels at hand.

    Parameters
    ----------
    features : array (N, D), memory map or FeatureStore; None with `items`
        Strong features of all rows, for tuning "head".
    weak_proba : array (N, C), or (N, M, C) of M teachers
        Pseudo-labels of all rows, or hard labels (N,). The gain is measured against their mean
        over teachers.
    labels : array (N,)
        Gold labels: codes, -1 where unknown; or names, None where unknown, with `class_names`.
        Needed for the test rows. Those of the pool are seen by the ceiling only.
    splits : array (N,)
        labelled, pool, validation or test. Test rows may be in several splits, such as "test" and
        "test_ood" (see `w2s_data.data.splits.read_split`): `splits` of the result has each, and the
        other figures are about "test" or, if no split is called so, about all test rows.
    methods : sequence of names or Method, or mapping from name to these
    seeds : int or sequence of int
        Number of seeds, or their numbers.
    settings : TrainingSettings, optional
        Trained part, duration and learning rate; by default a linear head. Its `checkpoint`
        stores each finished (method, seed): a later call with the same data and settings reuses
        them (`resume`) and trains the rest. More methods and more seeds may be added.
    items : sequence of N items, for tunings "lora" and "full"; see `fit_student`
    groups : array (N,), optional
        Groups whose accuracies and worst accuracy are reported.
    sources : array (N,), optional
        For methods that treat sources alike, such as ``raven`` by ``easy_by="source"``.
    class_names : sequence of C names, optional
        In the order of the columns of `weak_proba`.
    posterior : array (N, C), optional
        Probabilities of gold and weak labels together, of all rows, for `stacked` and the like; see
        `LabelPosterior`. By default one is fitted to the pool and the labelled rows, on `features`;
        it takes the weak labels of the labelled rows as held out.
    test_by : array (N,), optional
        Names that make a test split each of the test rows, instead of those in `splits`, e.g.
        sources.
    forecast : GainForecast, or a mapping with its entry "gain"; optional
        Compared with the gain of the naively trained student.
    early_stopping : bool
        Stop by the gold labels of the validation rows, an advantage that a team without labels
        does not have. Never by the test rows.
    level : float
        Coverage of the intervals.
    n_resamples : int
        Bootstrap resamples of the test items, at least 100.
    resume : bool
        If False, what the folder holds is removed first.
    random_state : int, Generator or None
        With a checkpoint it must be an int.
    progress : bool or None
        Bar over methods and seeds; None draws it in a terminal.
    engine : Engine, optional
        Where students are trained, one task per method and seed; by default in this process. Any
        other needs a checkpoint.
    **changes
        Single settings, which override `settings`: epochs, learning_rate, l2, tuning, model ...

    Returns
    -------
    GainResult
        `options` (use the teacher, train on gold labels, on weak ones, on both) and `advised`, the
        cheapest that is at most half a point behind the best, and not significantly. Intervals are
        for fresh test items and fresh seeds together; `to_frame` has each seed with an interval
        over items alone. Methods are ranked by gain; two share a letter in
        `rank_group` if they do not differ significantly (paired, Bonferroni over the pairs). PGR is
        NaN with a reason unless ceiling minus teacher is at least .01 and its interval lies above
        0, OPR unless the student's error is clearly above 0.

    Raises
    ------
    InputError
        If inputs do not fit each other, a method or setting is unknown, or the checkpoint is of
        another configuration. A method that cannot be trained (a diverging loss, nothing kept, too
        few teachers) does not raise: it is in `failures`, and the others keep their results.

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
    settings = (settings or TrainingSettings()).replace(**changes)
    named, numbers = name_methods(methods), check_seeds(seeds)
    remote = engine if engine is not None and engine.name != "local" else None
    if remote is not None and settings.checkpoint is None:
        raise InputError(f"engine {remote.name!r} stores finished students: pass checkpoint")
    if (settings.tuning == "head") == (features is None):
        needed = "features" if settings.tuning == "head" else "items"
        raise InputError(f"tuning {settings.tuning!r} trains on {needed}")
    if not 0 < level < 1 or n_resamples < 100:
        raise InputError("level must lie in (0, 1), and n_resamples be at least 100")
    if settings.checkpoint is not None and not isinstance(random_state, int | np.integer):
        raise InputError(f"a checkpoint needs an int as random_state; got {random_state!r}")
    if remote is not None and n_processes() > 1:
        raise InputError(
            f"engine {remote.name!r} divides the students among its workers, and accelerate launch "
            f"each one among {n_processes()} processes: choose one of them"
        )
    expected, entropy = read_forecast(forecast), root_seed(random_state)
    with ExitStack() as held:
        with collect_warnings(DegenerateDataWarning, reissue=True) as notes:
            data = check_gain_data(
                features,
                weak_proba,
                labels,
                splits,
                items=items,
                groups=groups,
                class_names=class_names,
                posterior=posterior,
                sources=sources,
                test_by=test_by,
            )
            if early_stopping and not len(data.known("validation")):
                raise InputError("early_stopping needs rows with labels in the validation split")
            configuration = {"random_state": entropy, "early_stopping": early_stopping}
            checkpoint = _open_checkpoint(settings, data, configuration, resume, held)
            if data.posterior is None:  # not part of the configuration, from which it follows
                data = replace(data, posterior=_posterior(data, settings, entropy))
            n_students = (len(named) + 2) * len(numbers)
            with progress_bar("gain", n_students, "students", progress) as advance:
                laboratory = Laboratory(
                    *(data, numbers, settings, entropy, early_stopping, checkpoint, advance),
                    progress=progress,
                )
                gold, trained = _train(laboratory, named, remote)
        comparer = Comparer(data, gold, level, n_resamples, entropy)
        result = comparer.compare(trained, named, numbers, settings.tuning, expected, tuple(notes))
        return _predict_rest(result, laboratory, trained, progress)


def _train(
    laboratory: Laboratory, methods: Mapping[str, Method], remote: Engine | None
) -> tuple[dict[str, Trained], dict[str, Trained]]:
    """Train the students of gold labels, and one of each method."""
    # The engine fills the checkpoint; the loops below then only read it, and train what failed
    # there.
    if remote is not None:
        train_ahead(laboratory, methods, remote)
        laboratory = replace(laboratory, advance=no_advance)
    gold = {name: laboratory.train_reference(name) for name in GOLD_SPLITS}
    trained = {
        name: laboratory.train(laboratory.method_job(name, method))
        for name, method in methods.items()
    }
    return gold, trained


def _predict_rest(
    result: GainResult,
    laboratory: Laboratory,
    trained: Mapping[str, Trained],
    progress: bool | None,
) -> GainResult:
    """Let the best and the naive student predict what is outside the test split, if none has."""
    wanted = {*result.roles.values(), *(student.name for student in result.methods[:1])}
    predicted, warnings = {}, list(result.warnings)
    for student in result.methods:
        own = trained[student.name]
        if student.name in wanted:
            try:
                own = laboratory.predict_rest(student.name, own, progress)
            except TrainingError as error:  # what was measured does not depend on it
                warnings.append(f"{student.name} predicts the test rows alone: {error}")
        if own.predicted is not None:
            predicted[student.name] = own.predicted
    table = predictions_table(laboratory.data, predicted)
    return replace(result, by_item=table, warnings=tuple(warnings))


def _posterior(data: GainData, settings: TrainingSettings, entropy: int) -> FloatArray | None:
    """Fit the posterior of all rows, where there are features and gold labels to fit it to."""
    labelled = data.known("labelled")
    if isinstance(data.inputs, list) or not len(labelled):
        return None
    gold = np.full(len(data.labels), -1)
    gold[labelled] = data.labels[labelled]
    pool = data.rows("pool")
    return fit_posterior(data.inputs, data.weak_proba, gold, pool, settings, entropy)


def _open_checkpoint(
    settings: TrainingSettings,
    data: GainData,
    configuration: dict[str, Any],
    resume: bool,
    held: ExitStack,
) -> Checkpoint:
    """Open the checkpoint for this process alone, until `held` is left."""
    if settings.checkpoint is None:
        return Checkpoint(None, {}, resume)
    # The hash of the files, since a folder or a hub name may hold other weights the next time.
    if settings.tuning != "head":
        configuration["weights"] = settings.adaptation.source.identity()
    configuration |= {**settings.identity(), **data.fingerprint()}
    folder = Path(settings.checkpoint)
    Checkpoint.check_place(folder)
    make_folder(folder)
    held.enter_context(lock.writing(folder, f"the checkpoint {str(folder)!r}"))
    return Checkpoint(folder, configuration, resume)
