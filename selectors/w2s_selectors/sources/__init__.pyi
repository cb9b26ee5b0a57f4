from .base import Batch as Batch
from .base import DataSource as DataSource
from .base import ReplayableSource as ReplayableSource
from .base import SourceError as SourceError
from .base import SourceTimeout as SourceTimeout
from .callable import CallableSource as CallableSource
from .table import TableSource as TableSource
