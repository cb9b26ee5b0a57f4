from .dispatch import read_raw as read_raw
from .formats import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from .formats import format_of as format_of
from .table import RawTable as RawTable
