from .detector import ShiftDetector as ShiftDetector
from .labels import LabelShift as LabelShift
from .results import Comparison as Comparison
