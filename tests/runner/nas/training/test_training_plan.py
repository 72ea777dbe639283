"""The plan how to train candidates: what is timed, and what it is applied to."""

import pytest
import torch

from runner.nas.training import training_plan
from tests.runner.nas.populations import IMAGES, data, sample

pytestmark = pytest.mark.torch


def test_without_time_or_memory_the_plan_is_one_by_one():
    x, y = data(IMAGES, 16, torch.float32)
    genotypes = sample(IMAGES, 16)
    assert training_plan.plan_training(IMAGES, genotypes, x, y, budget_s=0.0).size == 1
    assert training_plan.plan_training(IMAGES, genotypes, x, y, budget_s=20.0, memory_bytes=1.0).size == 1


def test_a_plan_times_both_ways_and_its_parts_hold_everyone_in_order():
    x, y = data(IMAGES, 16, torch.float32)
    genotypes = sample(IMAGES, 20)
    plan = training_plan.plan_training(IMAGES, genotypes[:9], x, y, budget_s=20.0)
    assert {"alone", "alone, channels last", "at once"} == {way for way, _, _ in plan.timings}
    chosen = training_plan.TrainingPlan(8, True, 2.0, (), 0.0)
    parts = training_plan.build_populations(IMAGES, genotypes, chosen, seed=1)
    assert [len(part) for part in parts] == [7, 6, 7]
    assert [genotype for part in parts for genotype in part.genotypes] == genotypes


def test_losses_that_differ_in_mixed_precision_are_noticed():
    full = torch.tensor([1.0, 0.02, torch.nan])
    assert training_plan.losses_agree(full * 1.03, full)
    assert not training_plan.losses_agree(torch.tensor([1.2, 0.02, torch.nan]), full)
    assert not training_plan.losses_agree(torch.tensor([1.0, torch.nan, torch.nan]), full)


def test_a_plan_has_precision_and_graph_and_on_a_cpu_chooses_neither():
    x, y = data(IMAGES, 16, torch.float32)
    genotypes = sample(IMAGES, 8)
    found = training_plan.plan_training(IMAGES, genotypes, x, y, budget_s=0.5)
    assert not found.mixed
    assert not found.graph
    [part] = training_plan.build_populations(
        IMAGES, genotypes, training_plan.TrainingPlan(8, True, 2.0, (), 0.0, mixed=True, graph=True)
    )
    assert (part.mixed, part.graph) == (True, True)
    [part] = training_plan.build_populations(
        IMAGES, genotypes, training_plan.TrainingPlan(1, True, 2.0, (), 0.0, mixed=True)
    )
    assert part.mixed


def test_a_plan_on_a_gpu_times_mixed_precision_and_graphs_as_well(monkeypatch):
    # A CPU that counts as a GPU: steps run on fixed memory without a graph.
    watch = training_plan._Watch
    monkeypatch.setattr(watch, "_wait", lambda self: None)
    monkeypatch.setattr(training_plan, "_Watch", lambda device, budget_s: watch(torch.device("cuda"), budget_s))
    x, y = data(IMAGES, 16, torch.float32)
    genotypes = sample(IMAGES, 8)
    plan = training_plan.plan_training(IMAGES, genotypes, x, y, budget_s=20.0, memory_bytes=1e9)
    modes = {"at once", "at once, graph", "at once, mixed", "at once, mixed, graph"}
    assert modes <= {way for way, _, _ in plan.timings}
    assert {"alone", "alone, channels last", "alone, mixed"} <= {way for way, _, _ in plan.timings}
    assert plan.speedup > 0
