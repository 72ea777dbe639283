"""Events about candidates and the policy of a search."""

from __future__ import annotations

from collections.abc import Iterator

from core.events import Architecture, Event, Metric, PolicyPoint
from runner.nas.search.search_state import CandidateRecord
from runner.nas.search.study import Study
from runner.nas.space.layer_summary import layers
from runner.nas.space.spaces import Policy


def report_candidate(study: Study, record: CandidateRecord) -> Iterator[Event]:
    """Yield what is known about a candidate before its training, and the error of each rung that it reached."""
    yield Architecture(record.name, layers(study.data.space, study.data.space.decode(record.genotype)))
    yield Metric("n_parameters", record.size, 0, record.name)
    yield Metric("flops", record.flops, 0, record.name)
    if record.latency_s is not None:
        yield Metric("latency_s", record.latency_s, 0, record.name)
    for epochs, _, error in record.rungs:
        yield rung_metric(study, record, epochs, error)


def rung_metric(study: Study, record: CandidateRecord, epochs: int, error: float) -> Metric:
    """Return the validation error of a candidate after so many epochs."""
    return Metric("valid_error", error * study.objective.unit, epochs, record.name)


def report_policy(policy: Policy, count: int) -> Iterator[Event]:
    """Yield the probabilities of a policy after so many candidates."""
    for decision, options in policy.items():
        for option, probability in options.items():
            yield PolicyPoint(decision, option, probability, count)


def add_policy(study: Study) -> Iterator[Event]:
    """Add the strategy's current policy to the state, and report it."""
    if policy := study.strategy.policy():
        count = len(study.state.evaluations)
        study.state.policies.append((count, policy))
        yield from report_policy(policy, count)
