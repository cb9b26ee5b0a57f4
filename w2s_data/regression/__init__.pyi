from .whole import WholeValues as WholeValues
from .whole import train_values as train_values
