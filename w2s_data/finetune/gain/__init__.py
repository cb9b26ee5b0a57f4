"""Measuring what students gain over their teacher: `measure_gain` and its result."""

from __future__ import annotations

from w2s_data.finetune.gain.measure import measure_gain
from w2s_data.finetune.gain.result import GainResult

__all__ = ["GainResult", "measure_gain"]
