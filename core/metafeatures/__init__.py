"""Meta-features: what a dataset is like, in numbers that a selector can compare."""

from core.metafeatures.features import LANDMARKERS, NAMES, compute, of, remember, stored

__all__ = ["LANDMARKERS", "NAMES", "compute", "of", "remember", "stored"]
