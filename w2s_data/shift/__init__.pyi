from .detector import ShiftDetector as ShiftDetector
from .results import Comparison as Comparison
