from .analyzer import GroupAnalyzer as GroupAnalyzer
from .values import ValueGroupAnalyzer as ValueGroupAnalyzer
