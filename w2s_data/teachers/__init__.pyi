from .opinions import Opinions as Opinions
