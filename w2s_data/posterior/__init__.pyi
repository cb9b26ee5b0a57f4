from .estimator import LabelPosterior as LabelPosterior
from .label_model import LabelModel as LabelModel
from .pooling import LogLinearPool as LogLinearPool
from .pooling import fit_pool as fit_pool
from .query import Choice as Choice
from .query import choose_rows as choose_rows
