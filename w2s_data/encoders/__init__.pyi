from .base import Encoder as Encoder
from .base import ItemError as ItemError
from .classical import PixelEncoder as PixelEncoder
from .classical import TfidfEncoder as TfidfEncoder
from .image import ImageEncoder as ImageEncoder
from .names import encoder_from_spec as encoder_from_spec
from .text import TextEncoder as TextEncoder
