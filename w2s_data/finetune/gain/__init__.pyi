from .measure import measure_gain as measure_gain
from .result import GainResult as GainResult
