from .analyzer import SpuriousAnalyzer as SpuriousAnalyzer
