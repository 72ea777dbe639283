"""Meta-features: what a dataset is like, in numbers that a selector can compare."""

from core.metafeatures.features import LANDMARKERS, NAMES, all_features, compute, get, save

__all__ = ["LANDMARKERS", "NAMES", "all_features", "compute", "get", "save"]
