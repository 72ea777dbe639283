"""The start of a search from an earlier one: its own last attempt, another job, or searches on other data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from core.events import Event, Message, Metric
from runner.nas.search import search_state
from runner.nas.search.finalist_training import inherit, reset_reports
from runner.nas.search.reports import report_candidate, report_policy
from runner.nas.search.search_state import CandidateRecord, Generation, SearchState
from runner.nas.search.strategies import Candidate
from runner.nas.search.study import Study
from runner.nas.space.limits import SettingError
from runner.nas.space.spaces import Genotype

_WARM_STARTS = 8  # maximum of candidates of other searches that are tried first


class ContinuationError(SettingError):
    """A search that cannot be continued with these settings."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a search starts from.

    `previous` is the checkpoint of an earlier attempt. `continued` is that of another job, which messages call
    `parent`: the search takes over its candidates and does not train its finalists again; `identity` is what both must
    have in common. `warm_starts` are the checkpoints of searches on other data whose best candidates are tried first.
    """

    previous: Path | None = None
    continued: Path | None = None
    parent: str = "the other search"
    identity: Mapping[str, str] = field(default_factory=dict)
    warm_starts: Sequence[Path] = ()


def initial_state(origin: Origin, identity: dict[str, str], epochs: int | None) -> SearchState:
    """Return the state that a search starts with; its finalists train for `epochs`.

    Raises ContinuationError where the other job searched other data, another space or by another metric.
    """
    if origin.previous:
        state = search_state.load(origin.previous)
        state.finalists = reset_reports(state.finalists)
        return state
    if origin.continued:
        state = _continue(search_state.load(origin.continued), identity)
        state.finalists = inherit(state.finalists, origin.parent, epochs)
        return state
    return SearchState(identity=identity)


def warm_start(study: Study, checkpoints: Sequence[Path]) -> Iterator[Event]:
    """Set the best candidates of other searches, in turn, as the first ones, as far as this space has them."""
    space = study.data.space
    offers = []
    for path in checkpoints:
        other = search_state.load(path)
        is_same_kind = other.identity["space"].partition("(")[0] == repr(space).partition("(")[0]
        offers.append([g for g in other.best_genotypes(_WARM_STARTS) if is_same_kind and _fits(space.choices, g)])
    mixed = [genotype for row in zip_longest(*offers) for genotype in row if genotype is not None]
    study.warm_starts = list(dict.fromkeys(mixed))[:_WARM_STARTS]
    yield Message(f"The search starts with {len(study.warm_starts)} of the best candidates of other searches.")


def _fits(choices: Sequence[int], genotype: Genotype) -> bool:
    """Return whether this space has a genotype of another space: decisions mean the same in both."""
    return len(choices) == len(genotype) and all(0 <= place < n for place, n in zip(genotype, choices, strict=True))


def _continue(state: SearchState, identity: dict[str, str]) -> SearchState:
    """Return another job's state as the start of this job: its clock and counts begin at zero."""
    for key, value in identity.items():
        if key not in ("strategy", "device") and (other := state.identity.get(key)) != value:
            difference = f" ({other}, not {value})" if key == "metric" else ""
            raise ContinuationError(
                "continues",
                f"The other search had another {key}{difference}.",
                f"Choose the same {key} and the same limits, or start a new search.",
            )
    if state.identity["device"] != identity["device"]:
        state.plans, state.generation_size = {}, 0
        if state.generation:  # its populations depend on the plans of the other device
            records = [CandidateRecord(r.name, r.genotype, r.size, r.flops) for r in state.generation.records]
            state.generation = Generation(records)
    state.n_inherited, state.spent_s = len(state.evaluations), 0.0
    return state


def resume(study: Study, strategy: str) -> Iterator[Event]:
    """Restore the strategy, and report again what the checkpoint holds."""
    state = study.state
    if state.identity["strategy"] == strategy and state.strategy:
        study.strategy.load_state(state.strategy)
    else:
        for record in state.evaluations:
            study.strategy.tell(Candidate(record.genotype, record.name), record.strategy_error or math.nan)
    state.identity["strategy"], state.identity["device"] = strategy, study.settings.device
    study.n_evaluations = state.n_own
    study.save()
    for record in state.evaluations:
        yield from report_candidate(study, record)
    for count, error in state.best_errors:
        yield Metric("best_valid", study.objective.value(error), count)
    for count, policy in state.policies:
        yield from report_policy(policy, count)
    count = len(state.evaluations)
    yield Message(f"The search resumes from its checkpoint with {count:,} candidate{'s' * (count != 1)}.")
