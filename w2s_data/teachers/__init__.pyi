from .answers import label_answers as label_answers
from .opinions import Opinions as Opinions
