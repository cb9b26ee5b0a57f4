from .analyzer import GroupAnalyzer as GroupAnalyzer
