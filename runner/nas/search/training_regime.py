"""What a generation or a finalist is trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from runner.nas.search.search_state import Group
from runner.nas.space.spaces import AnySpace, Genotype
from runner.nas.training.batches import Pair


@dataclass(frozen=True, slots=True)
class TrainingRegime:
    """What candidates are trained on: one epoch has `rows` of the train rows.

    A step has `batch` rows, except for candidates with their own batch size. `must_stop` tells whether the time is
    up or the user wants a stop. `metric_error` is the error of outputs on the validation rows by the job's metric.
    """

    space: AnySpace
    train: Pair
    valid: Pair
    rows: int
    batch: int
    seed: int
    device: str
    must_stop: Callable[[], bool]
    metric_error: Callable[[Tensor], float]

    def batch_of(self, genotype: Genotype) -> int:
        """Return the rows of one step of this candidate."""
        return self.space.decode(genotype).recipe.batch or self.batch

    def group(self, genotype: Genotype) -> Group:
        """Return the group of a candidate: those of one group may train together."""
        return self.space.bucket(genotype), self.batch_of(genotype)

    def groups(self, genotypes: Sequence[Genotype]) -> dict[Group, list[Genotype]]:
        """Return the candidates by group, in their order within each group."""
        groups: dict[Group, list[Genotype]] = {}
        for genotype in genotypes:
            groups.setdefault(self.group(genotype), []).append(genotype)
        return dict(sorted(groups.items()))
