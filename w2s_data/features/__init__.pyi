from .matrix import FeatureMatrix as FeatureMatrix
from .matrix import as_feature_matrix as as_feature_matrix
from .pairs import embed_pairs as embed_pairs
from .pairs import pair_features as pair_features
from .store import FeatureStore as FeatureStore
from .store import embed as embed
