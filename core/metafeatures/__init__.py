"""Meta-features: what a dataset is like, in numbers that a selector can compare."""

from core.metafeatures.catalogue import LANDMARKERS, NAMES
from core.metafeatures.feature_store import all_features, get, save
from core.metafeatures.features import compute

__all__ = ["LANDMARKERS", "NAMES", "all_features", "compute", "get", "save"]
