"""Extremely randomised trees (Geurts et al. 2006) as weights over the rows they were grown on.

A tree puts a new row into a leaf, and the forest's answer is the mean of the targets there: a weighted mean of the
rows it was grown on. The forest returns the weights instead of the targets, so one forest answers for every target,
gives its distribution, and shows which rows the answer rests on (Meinshausen 2006). scikit-learn grows the trees; the
grown forest is a few arrays and needs numpy only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_FEATURE_SHARE = 1 / 3  # the usual share for regression
_PARTS = 10  # each tree is grown without one of ten parts of the rows, which evaluate it
_VARIANCE_SHARE = 0.95  # of the targets that the trees learn: the rest is mostly noise, and costs as much time
_NO_FEATURE = -2  # scikit-learn's mark of a leaf


@dataclass(frozen=True, slots=True)
class Forest:
    """Grown trees with their nodes in one list; a node's subtree is the run of nodes from itself to `end`."""

    feature: Array  # [nodes] int16, -2 for a leaf
    threshold: Array  # [nodes] float64; a row goes left if its feature is not above it
    left: Array  # [nodes] int32, itself for a leaf
    right: Array  # [nodes] int32, itself for a leaf
    end: Array  # [nodes] int32
    root: Array  # [trees] int32
    leaf: Array  # [trees, rows] int32: the leaf of each row that the tree was grown on, -1 for the others
    importance: Array  # [features] mean decrease of the targets' variance, sums to 1 (0 where nothing was split)

    def weights(self, inputs: Array) -> Array:
        """Return weights [new rows, rows] for inputs [new rows, features]; each row of weights sums to 1."""
        return np.array([_shares(self.leaf, leaves) for leaves in self._paths(inputs)[-1].T])

    def held_out_weights(self, inputs: Array, places: Array | None = None) -> Array:
        """Return weights for rows of the forest, each from the trees that were grown without it.

        `places` are the numbers of the rows that `inputs` describe; None: all of them, in order.
        """
        held_out = (self.leaf if places is None else self.leaf[:, places]).T < 0
        result = np.zeros((len(inputs), self.leaf.shape[1]))
        for row, leaves, trees in zip(result, self._paths(inputs)[-1].T, held_out, strict=True):
            if trees.any():
                row[:] = _shares(self.leaf[trees], leaves[trees])
        return result

    def contributions(self, inputs: Array, target: Array, counts: Array) -> Array:
        """Return how far each feature moved the forest's answer for one row of inputs [features] from the mean answer.

        Along each tree's path the mean of `target` [rows] changes from node to node; the change is credited to the
        feature of the node's split (Palczewska et al. 2014). The contributions sum to the answer minus the mean answer
        of the roots. `counts` [rows] multiply the rows' weights; a tree counts by the mean of those in its leaf.
        """
        result = np.zeros(len(self.importance))
        paths = self._paths(inputs[None])[:, :, 0]
        rows, mass, sums = (self._sums(values) for values in (np.ones(len(counts)), counts, counts * target))
        means, votes = sums / mass, (mass / rows)[paths[-1]]
        for before, after in itertools.pairwise(paths):
            moved = before != after
            np.add.at(result, self.feature[before[moved]], (votes * (means[after] - means[before]))[moved])
        return np.asarray(result / votes.sum())

    def _sums(self, values: Array) -> Array:
        """Return the sum of `values` [rows] in each node: a subtree is a run of nodes, so a running sum gives it."""
        grown_on = self.leaf >= 0
        in_leaves = np.bincount(
            self.leaf[grown_on], np.broadcast_to(values, grown_on.shape)[grown_on], len(self.feature)
        )
        sums = np.concatenate([[0.0], np.cumsum(in_leaves)])
        return np.asarray(sums[self.end] - sums[:-1])

    def _paths(self, inputs: Array) -> Array:
        """Return the nodes [steps, trees, new rows] that the rows pass, from the roots to the leaves."""
        inputs = inputs.astype(np.float32)  # scikit-learn compares these, so the paths are the same as its own
        nodes = np.repeat(self.root[:, None], len(inputs), axis=1)
        steps, rows = [nodes], np.arange(len(inputs))
        while (self.feature[nodes] != _NO_FEATURE).any():
            goes_left = inputs[rows, np.maximum(self.feature[nodes], 0)] <= self.threshold[nodes]
            nodes = np.where(goes_left, self.left[nodes], self.right[nodes])
            steps.append(nodes)
        return np.stack(steps)

    def arrays(self) -> dict[str, Array]:
        """Return the forest as named arrays; `Forest(**arrays)` is the same forest."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def grow(inputs: Array, goals: Sequence[tuple[Array, int]], groups: Array, *, trees: int, seed: int = 0) -> Forest:
    """Grow a forest on inputs [rows, features]; its trees take turns with the goals.

    A goal is targets [rows, outputs] and the minimum rows of a leaf. Rows of one group, numbered from 0, are held out
    together. With a single group every tree is grown on every row.
    """
    from sklearn.tree import ExtraTreeRegressor

    random = np.random.default_rng(seed)
    goals = [(_compress(targets), leaf_rows) for targets, leaf_rows in goals]
    inputs32 = inputs.astype(np.float32)
    if not inputs.shape[1]:
        inputs32 = np.zeros((len(inputs), 1), np.float32)
    grown, leaves, importance = [], np.full((trees, len(inputs)), -1, np.int32), np.zeros(inputs32.shape[1])
    for place, (rows, turn) in enumerate(_samples(groups, trees, random)):
        targets, leaf_rows = goals[turn % len(goals)]
        tree = ExtraTreeRegressor(
            min_samples_leaf=leaf_rows, max_features=_FEATURE_SHARE, random_state=int(random.integers(2**31))
        ).fit(inputs32[rows], targets[rows], check_input=False)
        grown.append(tree.tree_)
        leaves[place, rows] = tree.tree_.apply(inputs32[rows])
        importance += tree.feature_importances_
    return _join(grown, leaves, importance[: inputs.shape[1]] / max(importance.sum(), 1e-12))


def _compress(targets: Array) -> Array:
    """Return the targets' main components: trees split by the summed variance, which no rotation changes."""
    centred = targets - targets.mean(axis=0)
    axes, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    share = np.cumsum(sizes**2) / max(float((sizes**2).sum()), 1e-300)
    count = min(int(np.searchsorted(share, _VARIANCE_SHARE)) + 1, len(sizes))
    return np.ascontiguousarray(axes[:, :count] * sizes[:count])


def _samples(groups: Array, trees: int, random: np.random.Generator) -> Iterator[tuple[Array, int]]:
    """Yield for each tree the rows to grow it on, all but one part of the groups, and its turn.

    The parts are drawn again each turn.
    """
    n_groups = int(groups.max()) + 1
    parts = min(_PARTS, n_groups)
    for tree in range(trees):
        if tree % parts == 0:
            part = (random.permutation(n_groups) % parts)[groups]
        yield part != tree % parts if parts > 1 else np.ones(len(groups), bool), tree // parts


def _join(trees: list[Any], leaves: Array, importance: Array) -> Forest:
    """Put the trees' nodes into one list."""
    root = np.cumsum([0] + [tree.node_count for tree in trees])[:-1].astype(np.int32)
    feature = np.concatenate([tree.feature for tree in trees]).astype(np.int16)
    own = np.arange(len(feature), dtype=np.int32)
    left, right = (
        np.concatenate([getattr(tree, f"children_{side}") + start for tree, start in zip(trees, root, strict=True)])
        for side in ("left", "right")
    )
    inner = feature != _NO_FEATURE
    left, right = (np.where(inner, side, own).astype(np.int32) for side in (left, right))
    end = own + 1
    for node in own[inner][::-1]:  # children come after their parent
        end[node] = end[right[node]]
    threshold = np.concatenate([tree.threshold for tree in trees])
    return Forest(
        feature, threshold, left, right, end, root, np.where(leaves < 0, -1, leaves + root[:, None]), importance
    )


def _shares(leaf: Array, leaves: Array) -> Array:
    """Return each row's weight if the trees' `leaves` [trees] count equally; `leaf` is [trees, rows]."""
    trees, rows = np.nonzero(leaf == leaves[:, None])
    counts = np.bincount(trees, minlength=len(leaf))
    return np.bincount(rows, 1 / counts[trees], leaf.shape[1]) / len(leaf)
