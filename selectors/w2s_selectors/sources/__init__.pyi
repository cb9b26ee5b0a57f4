from .base import DataSource as DataSource
from .base import ReplayableSource as ReplayableSource
from .base import SourceError as SourceError
from .base import SourceTimeout as SourceTimeout
from .batch import Batch as Batch
from .callable import CallableSource as CallableSource
from .table import TableSource as TableSource
