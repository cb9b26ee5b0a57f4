"""Memory that a stage needs in any case, so that a limit which cannot be kept is refused first."""

from __future__ import annotations

from w2s_data.compute.memory import LIBRARIES, MemoryLimit, size_text
from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import InputError
from w2s_data.utils.stage import Stage

# Bytes per item beside the table, the weak labels and the features: codes, masks and columns of
# tables everywhere, neighbours in groups, predictions of methods and the state of training in gain.
# Estimates, from the peaks of runs with 300,000 items or by analogy with them.
BYTES_PER_ITEM = {"score": 200, "forecast": 150, "select": 200, "gain": 900, "groups": 500}
PROBA_COPIES = {"score": 5, "forecast": 1, "select": 2, "gain": 6, "groups": 3}
# In gain only: the modules that torch imports with its first optimizer, which stay until the report
# is written.
OPTIMIZER = 120 * 10**6


def check_room(
    stage: Stage, dataset: W2SDataset, memory: MemoryLimit, features: int = 0, teachers: int = 0
) -> int:
    """Return the bytes that are left beside what a stage of these items needs in any case.

    `features` are bytes per item of features that the stage keeps in memory, `teachers` those of a
    run whose weak labels did not come with the data.

    Raises
    ------
    InputError
        If nothing is left: says how much memory is needed.
    """
    n_models = max(1, teachers, len(dataset.weak_names))
    proba = 8 * len(dataset.class_names) * n_models * PROBA_COPIES[stage.name]
    needed = LIBRARIES + (OPTIMIZER if stage.name == "gain" else 0)
    needed += int(dataset.table.memory_usage(deep=True).sum())
    needed += len(dataset) * (BYTES_PER_ITEM[stage.name] + proba + features)
    if needed > memory.total:
        enough = size_text(1.05 * needed)  # as its digits are rounded
        raise InputError(
            f"{stage.name} of {len(dataset):,} items needs about {size_text(needed)} of memory, "
            f"more than the limit of {memory}; set memory to {enough.replace(' ', '')} or more, or "
            "take fewer items"
        )
    return memory.total - needed
