r"""`measure_gain`: the gain of students of values over their weak teacher."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.finetune.objectives import TrainingError
from w2s_data.finetune.settings import TrainingSettings
from w2s_data.regression.comparison import (
    CEILING,
    LABELLED_ONLY,
    POSTERIOR,
    TEACHER,
    ValueComparer,
)
from w2s_data.regression.data import GROUP, SPLIT, ValueData, check_value_data
from w2s_data.regression.heads import CLOSED_FORM, HEADS, Head
from w2s_data.regression.material import Material
from w2s_data.regression.methods import LabelledOnly, ValueMethod, make_method
from w2s_data.regression.posterior import ValuePosterior
from w2s_data.regression.result import REFERENCES, ValueGainResult
from w2s_data.regression.scores import Errors, ErrorScorer
from w2s_data.regression.student import HUBER_DELTA, Student, train_student
from w2s_data.utils.intervals import LEVEL, Estimate
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import AnyArray, FloatArray, RandomState
from w2s_data.utils.validation import check_same_length, check_seeds, root_seed
from w2s_data.utils.warnings import collect_warnings


def measure_gain(
    features: Any,
    weak_values: Any,
    targets: AnyArray,
    splits: AnyArray | Sequence[str],
    *,
    methods: Sequence[str | ValueMethod] | Mapping[str, str | ValueMethod] = ("stacked", "naive"),
    seeds: int | Sequence[int] = 5,
    settings: TrainingSettings | None = None,
    head: Head = "ridge",
    delta: float = HUBER_DELTA,
    items: Sequence[Any] | None = None,
    groups: AnyArray | Sequence[Any] | None = None,
    units: AnyArray | None = None,
    weak_errors: Any = None,
    posterior: tuple[Any, Any] | None = None,
    test_by: AnyArray | Sequence[Any] | None = None,
    early_stopping: bool = False,
    level: float = LEVEL,
    n_resamples: int = 1000,
    random_state: RandomState = 0,
    progress: bool | None = None,
    **changes: Any,
) -> ValueGainResult:
    r"""Train students by several methods on weak values, and measure what they gained.

    .. math::
        gain = E_{teacher} - E_{student}, \qquad
        PGR = \frac{E_{teacher} - E_{student}}{E_{teacher} - E_{ceiling}}, \qquad
        OPR = \frac{E_{labelled}}{E_{student}}

    with E the mean squared error on the test rows, the ceiling the same student trained on gold
    values of the pool, and E_labelled that of the same student trained on the labelled rows alone.

    Parameters
    ----------
    features : array (N, D), memory map or FeatureStore
        Strong features of all rows. Whole models need them for the posterior alone.
    weak_values : array (N,), or (N, M) of M teachers
        Weak values of all rows, NaN where a teacher abstains; those of labelled rows held out. The
        gain is measured against their mean, weighted by 1 / error^2 where there are errors.
    targets : array (N,)
        Gold values, NaN where unknown. Needed for the test rows. Those of the pool are seen by the
        ceiling only.
    splits : array (N,)
        labelled, pool, validation or test; test rows may be in several splits, as "test_ood".
    methods : sequence of names or ValueMethod, or mapping from name to these
    seeds : int or sequence of int
        Closed forms are the same for all seeds; their intervals are for fresh items alone.
    settings : TrainingSettings, optional
        Its `checkpoint` folder keeps the trainings of whole models, from which a killed call
        resumes; with it `random_state` must be an int.
    head, delta, items
        As for `fit_student`.
    groups : array (N,), optional
        Groups whose errors are reported.
    units : array (N,), optional
        Rows of one unit are resampled together, as exact duplicates are.
    weak_errors : array (N,) or (N, M), optional
        Standard errors of the weak values.
    posterior : (values (N,), errors (N,)), optional
        From a `ValuePosterior`; by default one is fitted.
    test_by : array (N,), optional
        Names that make a test split each of the test rows.
    early_stopping : bool
        Stop students that are trained by steps by the squared error on the validation rows, an
        advantage that a team without gold values does not have. Never by the test rows.
    level : float
    n_resamples : int
        Bootstrap resamples of the test rows, at least 100.
    random_state : int, Generator or None
    progress : bool or None
    **changes
        Single settings, which override `settings`.

    Returns
    -------
    ValueGainResult
        Advises the cheapest option whose squared error is at most 2 % above the best, and not
        significantly.

    Raises
    ------
    InputError
        If inputs do not fit each other, or a method or setting is unknown. A method that cannot be
        trained does not raise: it is in `failures`.

    References
    ----------
    Burns et al., *Weak-to-Strong Generalization*, 2023 (PGR); Dong et al., *Discrepancies are
    Virtue*, 2025 (OPR, in squared error).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(900, 20))
    >>> y = x[:, :3] @ [2.0, 1.0, 0.5] + 0.5 * rng.normal(size=900)
    >>> weak = 2 * x[:, 0] + rng.normal(size=900)
    >>> splits = np.repeat(["labelled", "pool", "test"], [30, 570, 300])
    >>> result = measure_gain(x, weak, y, splits, seeds=1)
    >>> bool(result["stacked"].gain.low > 0), result.advised
    (True, 'both')
    """
    given = (settings or TrainingSettings()).replace(**changes)
    if head not in HEADS:
        raise InputError(f"head must be one of {', '.join(map(repr, HEADS))}; got {head!r}")
    if not 0 < level < 1 or n_resamples < 100:
        raise InputError("level must lie in (0, 1), and n_resamples be at least 100")
    named, numbers = _name_methods(methods), check_seeds(seeds)
    if given.checkpoint is not None and not isinstance(random_state, int | np.integer):
        raise InputError(f"a checkpoint needs an int as random_state; got {random_state!r}")
    entropy = root_seed(random_state)
    with collect_warnings(DegenerateDataWarning, reissue=True) as notes:
        data = check_value_data(
            features, weak_values, targets, splits, weak_errors, groups, units, test_by, entropy
        )
        joined, posterior_failure = _posterior(data, posterior, entropy)
        data = replace(data, material=replace(data.material, given=joined))
        how = {
            "settings": given,
            "head": head,
            "delta": delta,
            "items": items,
            "validation": _held_out(data, items, given, head) if early_stopping else None,
            "entropy": entropy,
            "seeds": numbers,
            "progress": False,
        }
        students, predicted, failures = _train(data, named, how, progress)
    test = data.rows("test")
    values: dict[str, FloatArray] = {TEACHER: data.teacher[test][None]}
    if joined is not None and np.isfinite(joined[0][test]).all():
        values[POSTERIOR] = joined[0][test][None]
    elif not posterior_failure:
        posterior_failure = "the posterior has no value of some test rows"
    failures = {**failures, **({POSTERIOR: posterior_failure} if posterior_failure else {})}
    values |= predicted
    scorer = ErrorScorer(
        data.targets[test],
        data.parts(test),
        data.unit_codes(test),
        n_resamples=n_resamples,
        level=level,
        seed=entropy,
    )
    errors = scorer.score(values)
    comparer = ValueComparer(scorer, errors, named, failures)
    return _result(data, comparer, scorer, errors, values, students, named, failures, notes, how)


def _name_methods(methods: Any) -> dict[str, ValueMethod]:
    """Return methods by name; raise for an unknown or a repeated one."""
    if isinstance(methods, Mapping):
        taken = {TEACHER, CEILING, POSTERIOR} & {str(name) for name in methods}
        if taken:
            raise InputError(f"{taken.pop()!r} names a reference: give the method another name")
        return {str(name): make_method(method) for name, method in methods.items()}
    found: dict[str, ValueMethod] = {}
    for method in [methods] if isinstance(methods, str | ValueMethod) else methods:
        made = make_method(method)
        if made.name in found:
            raise InputError(f"method {made.name!r} is named twice: pass a mapping of names")
        found[made.name] = made
    if not found:
        raise InputError("methods is empty: name at least one, e.g. stacked")
    return found


def _posterior(
    data: ValueData, given: tuple[Any, Any] | None, entropy: int
) -> tuple[tuple[FloatArray, FloatArray] | None, str]:
    """Return posterior values and errors of all rows, or None and why there are none."""
    if given is not None:
        values, errors = (np.asarray(part, dtype=np.float64) for part in given)
        check_same_length(posterior=values, errors=errors, targets=data.targets)
        return (values, errors), ""
    labelled = data.lesson_material("labelled")
    if data.material.features is None:
        return None, "there are no features to fit a posterior on"
    if not np.isfinite(labelled.targets).any():
        return None, "no row of the labelled split has a gold value"
    fitted = ValuePosterior(random_state=entropy).fit(
        data.material.features,
        data.material.weak_values,
        targets=labelled.targets,
        weak_errors=data.material.weak_errors,
        pool=data.rows("pool"),
    )
    return (fitted.values_, fitted.errors_), ""


def _train(
    data: ValueData, named: Mapping[str, ValueMethod], how: dict[str, Any], progress: bool | None
) -> tuple[dict[str, Student], dict[str, FloatArray], dict[str, str]]:
    """Train ceiling, the student of gold values alone, and each method; keep the reasons else.

    Returns students, their values (S, n) of the test rows, and failures by name.
    """
    jobs: dict[str, tuple[ValueMethod, Material]] = {
        LABELLED_ONLY: (LabelledOnly(), data.lesson_material("labelled")),
        CEILING: (LabelledOnly(), data.lesson_material("pool")),
    }
    labelled = data.lesson_material("labelled")
    jobs |= {name: (method, labelled) for name, method in named.items()}
    students: dict[str, Student] = {}
    predicted: dict[str, FloatArray] = {}
    failures: dict[str, str] = {}
    pool = data.rows("pool")
    unknown = int((~np.isfinite(data.targets[pool])).sum())
    with progress_bar("gain", len(jobs), "students", progress) as advance:
        for name, (method, material) in jobs.items():
            if name == CEILING and unknown:
                failures[name] = f"{unknown:,} of {len(pool):,} pool rows have no gold value"
            else:
                try:
                    own = how | {"settings": _kept_apart(how["settings"], name)}
                    student = train_student(method, material, name=name, **own)
                    inputs = data.read(data.rows("test"), how["items"], student.tuning)
                    predicted[name] = student.seed_values(inputs)
                    students[name] = student.kept()
                except TrainingError as error:
                    failures[name] = str(error)
            advance(1)
    return students, predicted, failures


def _held_out(
    data: ValueData, items: Sequence[Any] | None, settings: TrainingSettings, head: Head
) -> tuple[Any, FloatArray]:
    """Return inputs and values of the validation rows that have one."""
    if settings.tuning == "head" and head in CLOSED_FORM:
        raise InputError(
            f"head {head!r} is in closed form, and early_stopping is for students that are trained "
            "by steps: leave it out, or choose head 'squared' or 'huber'"
        )
    rows = data.rows("validation")
    rows = rows[np.isfinite(data.targets[rows])]
    if not len(rows):
        raise InputError("early_stopping needs rows with gold values in the validation split")
    return data.read(rows, items, settings.tuning), data.targets[rows]


def _kept_apart(settings: TrainingSettings, name: str) -> TrainingSettings:
    """Return settings with a checkpoint folder for a student of this name alone."""
    if settings.checkpoint is None:
        return settings
    return settings.replace(checkpoint=Path(settings.checkpoint) / re.sub(r"\W+", "-", name))


def _result(
    data: ValueData,
    comparer: ValueComparer,
    scorer: ErrorScorer,
    errors: Mapping[str, Mapping[str, Errors]],
    values: Mapping[str, FloatArray],
    students: Mapping[str, Student],
    named: Mapping[str, ValueMethod],
    failures: Mapping[str, str],
    notes: Sequence[str],
    how: Mapping[str, Any],
) -> ValueGainResult:
    test = data.rows("test")
    parts = scorer.parts
    groups = [name for name in parts if name.startswith(GROUP)]
    target = data.targets[test][parts[""]]
    table = pd.DataFrame({"row": test, "split": "test", "target": data.targets[test]})
    if data.test_splits is not None:
        table["split"] = data.test_splits[test]
    for name, own in values.items():
        table[name] = own.mean(axis=0)
    warnings = [*notes]
    if np.ptp(target) == 0:
        warnings.append(f"all test targets are {target[0]:.6g}: R2 says nothing, and is 0")
    silent = int((~np.isfinite(data.material.mean[0][test])).sum())
    if silent:
        warnings.append(
            f"no teacher has a value of {silent:,} test rows: they count with the mean weak value"
        )
    choice, sentence = comparer.choose()
    return ValueGainResult(
        methods=comparer.gains(),
        references={name: comparer.reference(name) for name in REFERENCES},
        reasons={name: comparer.failure(name) for name in REFERENCES if comparer.failure(name)},
        options=comparer.options(),
        choice=choice,
        sentence=sentence,
        splits=tuple(
            {"name": name, "n": int(parts[SPLIT + name].sum()), **comparer.on_part(SPLIT + name)}
            for name in data.split_names
        ),
        groups=tuple(
            {
                "name": part.removeprefix(GROUP),
                "n": int(parts[part].sum()),
                **comparer.on_group(part),
            }
            for part in groups
        ),
        worst_group=_worst(errors, groups, scorer, [TEACHER, *comparer.ranked()]),
        failures={name: reason for name, reason in failures.items() if name in named},
        warnings=tuple(warnings),
        target={
            "mean": float(target.mean()),
            "sd": float(target.std()),
            "low": float(target.min()),
            "high": float(target.max()),
        },
        seeds=how["seeds"],
        tuning=how["settings"].tuning,
        head=how["head"],
        level=scorer.level,
        n_labelled=len(data.lesson_material("labelled").gold),
        n_pool=len(data.rows("pool")),
        n_test=len(target),
        students=dict(students),
        by_item=table,
    )


def _worst(
    errors: Mapping[str, Mapping[str, Errors]],
    groups: Sequence[str],
    scorer: ErrorScorer,
    names: Sequence[str],
) -> dict[str, Estimate]:
    """Return the largest mean squared error over the groups, by model; on average too high."""
    if not groups:
        return {}
    found = {}
    for name in names:
        each = [scorer.difference(errors[name][group].square, least=0.0) for group in groups]
        worst = max(each, key=lambda own: own.value)
        found[name] = Estimate(worst.value, worst.low, worst.high, worst.level)
    return found
