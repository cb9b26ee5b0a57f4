from .regret import cumulative_regret as cumulative_regret
from .regret import lai_robbins_rate as lai_robbins_rate
from .regret import regret_bound as regret_bound
from .regret import simple_regret as simple_regret
from .simulate import SimulationResult as SimulationResult
from .simulate import simulate as simulate
from .sources import BernoulliSources as BernoulliSources
from .sources import PoolSources as PoolSources
