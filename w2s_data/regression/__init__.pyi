from .discrepancy import measured_beside_predicted as measured_beside_predicted
from .whole import WholeValues as WholeValues
from .whole import train_values as train_values
