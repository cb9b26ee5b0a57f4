from .designs import DESIGNS as DESIGNS
from .designs import sweep as sweep
from .options import SweepOptions as SweepOptions
from .regimes import ValueWorld as ValueWorld
from .result import Line as Line
from .result import Point as Point
from .result import SweepResult as SweepResult
from .world import World as World
