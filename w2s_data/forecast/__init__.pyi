from .forecaster import GainForecaster as GainForecaster
from .options import Difference as Difference
from .options import Option as Option
from .result import GainForecast as GainForecast
from .result import Ingredients as Ingredients
