from .forecaster import GainForecaster as GainForecaster
from .result import GainForecast as GainForecast
from .result import Ingredients as Ingredients
