from .linear import LinearProbe as LinearProbe
from .linear import cross_fit_proba as cross_fit_proba
from .linear import fit_together as fit_together
from .ridge import RidgeProbe as RidgeProbe
