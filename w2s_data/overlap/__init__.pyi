from .changepoint import ChangePoint as ChangePoint
from .changepoint import change_point as change_point
from .confidence import smooth_confidence as smooth_confidence
from .confidence import weak_confidence as weak_confidence
from .detector import OverlapDetector as OverlapDetector
from .summary import summarize_overlap as summarize_overlap
