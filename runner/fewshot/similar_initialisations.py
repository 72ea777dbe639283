"""Rank the stored initialisations: the more similar the training classes are to the new ones, the better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InputError
from runner.fewshot.class_profiles import Profile


@dataclass(frozen=True, slots=True)
class TrainingProfile:
    """What an initialisation was trained on: its job, and the profile of its train classes (empty if unknown).

    If two are equally similar, the number of classes of their tasks (`ways`) decides, and then the validation score
    (higher is better; None: unknown).
    """

    job_id: int
    profile: Profile
    ways: int = 1
    score: float | None = None


@dataclass(frozen=True, slots=True)
class SimilarInitialisation:
    """How similar an initialisation is to the new classes.

    `distance` is the mean over the new classes of the distance to the most similar train class (None: unknown),
    `similar_classes` the name of that class for each of them, `why` a sentence on its place in the ranking.
    """

    job_id: int
    distance: float | None
    similar_classes: dict[str, str]
    why: str


def rank(
    trainings: Sequence[TrainingProfile], support: Callable[[TrainingProfile], Profile] | Profile
) -> list[SimilarInitialisation]:
    """Return the initialisations, the most similar first, those without a profile last.

    `support` is the profile of the new classes, or a function that makes it with an initialisation's own scales. Raises
    InputError if there is no initialisation.
    """
    if not trainings:
        raise InputError(
            "There is no stored initialisation for such examples.",
            remedy="Meta-train one first, on a dataset of the same kind with many classes.",
        )
    profiles = [support(one) if callable(support) else support for one in trainings]
    pairs = zip(trainings, profiles, strict=True)
    ranking = sorted((_compare(*pair) for pair in pairs), key=lambda one: one.order)
    return [
        SimilarInitialisation(one.training.job_id, one.distance, one.similar_classes, _why(ranking, place))
        for place, one in enumerate(ranking)
    ]


@dataclass(frozen=True, slots=True)
class _Comparison:
    training: TrainingProfile
    distance: float | None
    similar_classes: dict[str, str]
    ways_gap: float  # as a logarithm

    @property
    def order(self) -> tuple[float, float, float, int]:
        """The sort key."""
        score = -np.inf if self.training.score is None else self.training.score
        return np.inf if self.distance is None else self.distance, self.ways_gap, -score, -self.training.job_id


def _compare(training: TrainingProfile, support: Profile) -> _Comparison:
    width = len(next(iter(support.values()), []))
    ways_gap = round(float(abs(np.log(training.ways / max(1, len(support))))), 3)
    names = [name for name, values in training.profile.items() if len(values) == width]
    if not names or not support:
        return _Comparison(training, None, {}, ways_gap)
    theirs, mine = np.array([training.profile[name] for name in names]), np.array(list(support.values()))
    squares = (mine**2).sum(1)[:, None] + (theirs**2).sum(1) - 2 * mine @ theirs.T
    distances = np.sqrt(np.maximum(squares, 0.0))
    similar = {label: names[place] for label, place in zip(support, distances.argmin(1), strict=True)}
    return _Comparison(training, round(float(distances.min(1).mean()), 3), similar, ways_gap)


def _why(ranking: Sequence[_Comparison], place: int) -> str:
    one = ranking[place]
    if one.distance is None:
        return f"Job {one.training.job_id} has no profile of its training classes to compare with."
    examples = list(one.similar_classes.items())[:2]
    pairs = ", ".join(f"{theirs!r} is similar to your {mine!r}" for mine, theirs in examples)
    others = [other for other in ranking if other is not one and other.distance is not None]
    if not others:
        return f"It is the only choice. The distance of its training classes is {one.distance:.2f}: {pairs}."
    first, distance = others[0].training.job_id, others[0].distance or 0.0
    if one.distance == distance:
        tie_break = _tie_break(one, others[0])
        return f"Its training classes are as similar as those of job {first}, distance {distance:.2f}{tie_break}."
    if one.distance > distance:
        return (
            f"Its training classes are less similar: distance {one.distance:.2f}, {one.distance - distance:.2f} more "
            f"than for job {first}; {pairs}."
        )
    return (
        f"Its training classes are the most similar: distance {one.distance:.2f}, against {distance:.2f} for job "
        f"{first}; {pairs}."
    )


def _tie_break(one: _Comparison, other: _Comparison) -> str:
    """Return what distinguishes two equally similar ones."""
    if one.ways_gap != other.ways_gap:
        return f"; its tasks had {one.training.ways} classes, against {other.training.ways}"
    score, other_score = one.training.score, other.training.score
    if score is None or other_score is None:
        return ""
    if score < 0:
        return f"; its squared error on held-out groups is {-score:.3g}, against {-other_score:.3g}"
    return f"; its accuracy on held-out classes is {score:.3f}, against {other_score:.3f}"
