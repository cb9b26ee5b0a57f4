from .columns import ItemKind as ItemKind
from .dataset import W2SDataset as W2SDataset
from .examples import available_examples as available_examples
from .examples import load_example as load_example
from .load import load_dataset as load_dataset
from .regions import PointScores as PointScores
from .regions import Region as Region
from .splits import SPLITS as SPLITS
