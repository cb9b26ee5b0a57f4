from .estimator import LabelPosterior as LabelPosterior
from .pooling import LogLinearPool as LogLinearPool
from .pooling import fit_pool as fit_pool
