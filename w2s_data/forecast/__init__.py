"""What teacher and student will reach, forecast before anything is trained for real."""

from __future__ import annotations

from w2s_data._estimate import Estimate
from w2s_data.forecast.forecaster import GainForecaster
from w2s_data.forecast.result import GainForecast, Ingredients

__all__ = ["Estimate", "GainForecast", "GainForecaster", "Ingredients"]
