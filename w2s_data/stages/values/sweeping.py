"""Sweeps of values: variance and error over gold and weak values, in regimes of d_sw."""

from __future__ import annotations

import numpy as np

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import NotApplicableError, SplitError, listing
from w2s_data.features.matrix import sampled
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import load_features, require_role
from w2s_data.stages.sweep_settings import SweepSettings
from w2s_data.stages.sweeping import COPIES, MOST_TESTED, measure_figure
from w2s_data.sweep import SweepOptions, ValueWorld
from w2s_data.sweep.regimes import AXES
from w2s_data.utils.stage import StageResult
from w2s_data.utils.validation import check_generator


@writes
def sweep_values(
    run: Run, settings: SweepSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Measure ridgeless teacher and student beside their exact risks; add the figure to the run's.

    Among the settings, only what is varied, seeds and the size of the pool have a meaning here.

    Raises
    ------
    NotApplicableError
        If what is varied has no meaning for values, or features are missing.
    SplitError
        If there are no pool rows, or no test rows with a gold value.
    """
    chosen = _chosen(settings or SweepSettings())
    return measure_figure(run, chosen, compute, check_value_sweep, _world)


def check_value_sweep(settings: SweepSettings, known: Known) -> None:
    """Raise for figures of classes, and for data that lack features or gold values."""
    over = _chosen(settings).over
    if over not in AXES:
        raise NotApplicableError(
            f"over={over!r} is a figure of classes, and the labels are values: over can "
            f"be {listing(AXES)}"
        )
    if known.dataset is None:
        return
    require_role(known.roles, "strong")
    if "weak" not in known.roles:
        raise NotApplicableError(
            "a sweep of values trains its teacher again in every draw, which takes weak features: "
            "pass an encoder as weak, or a file as weak_features"
        )
    if not len(known.dataset.rows("pool")):
        raise SplitError("the pool is empty, so that no student can be trained")
    if not known.dataset.is_labelled[known.dataset.rows("test")].any():
        raise SplitError("no test row has a gold value, by which a student could be measured")


def _chosen(settings: SweepSettings) -> SweepSettings:
    """Return the settings, with a figure of values where none was asked for."""
    if "over" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"over": "pool"})


def _world(
    run: Run, dataset: W2SDataset, settings: SweepSettings, compute: Compute
) -> tuple[ValueWorld, SweepOptions]:
    """Collect the rows of the run that are used; gold values are standardised."""
    features, rng = load_features(run, compute), check_generator(compute.seed)
    most = compute.memory.rows(sum(matrix.shape[1] for matrix in features.values()), COPIES)
    known = dataset.is_labelled
    splits = {name: dataset.rows(name) for name in ("labelled", "pool", "test")}
    rows = np.sort(
        np.concatenate(
            [
                splits["labelled"][known[splits["labelled"]]],
                sampled(splits["pool"], min(settings.max_pool, most), rng),
                sampled(splits["test"][known[splits["test"]]], MOST_TESTED, rng),
            ]
        )
    )
    strong, weak = (features[role].take(rows).astype(np.float64) for role in ("strong", "weak"))
    targets = dataset.targets[rows]
    # Variances are then shares of that of the gold values.
    targets = (targets - np.nanmean(targets)) / np.nanstd(targets)
    world = ValueWorld(strong, weak, targets, dataset.splits[rows], compute.seed)
    return world, SweepOptions(settings.over)
