from .index import NeighborIndex as NeighborIndex
from .results import NeighborRanges as NeighborRanges
from .results import Neighbors as Neighbors
