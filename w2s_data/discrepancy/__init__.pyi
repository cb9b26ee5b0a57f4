from .analyzer import DiscrepancyAnalyzer as DiscrepancyAnalyzer
from .predictions import GainPrediction as GainPrediction
from .predictions import PoolSize as PoolSize
