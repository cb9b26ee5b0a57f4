from .linear import LinearProbe as LinearProbe
from .linear import cross_fit_proba as cross_fit_proba
from .ridge import RidgeProbe as RidgeProbe
