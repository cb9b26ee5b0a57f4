from .base import Engine as Engine
from .device import resolve_device as resolve_device
from .engines import make_engine as make_engine
