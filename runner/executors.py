"""Which function runs which kind of job. An engine is imported only in the process of its job."""

from __future__ import annotations

from collections.abc import Iterator

from core.events import Event
from core.specs import AutoMLSpec, FewShotSpec, FineTuneSpec, NASSpec, PortfolioSpec
from runner.launch import Context, Executor


def automl(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    """H2O AutoML on a table."""
    from runner.automl.job import run

    return run(spec, context)


def nas(spec: NASSpec, context: Context) -> Iterator[Event]:
    """A search for a network on images, texts or a table."""
    from runner.nas.job import run

    return run(spec, context)


def portfolio(spec: PortfolioSpec, context: Context) -> Iterator[Event]:
    """Scikit-learn pipelines of many kinds on any dataset."""
    from runner.portfolio.job import run

    return run(spec, context)


def fewshot(spec: FewShotSpec, context: Context) -> Iterator[Event]:
    """Meta-training on the classes of any dataset, or the groups of a table."""
    from runner.fewshot.job import run

    return run(spec, context)


def finetune(spec: FineTuneSpec, context: Context) -> Iterator[Event]:
    """New classes learned from a few examples."""
    from runner.fewshot.fine_tune import run

    return run(spec, context)


EXECUTORS: dict[str, Executor] = {
    "automl": automl, "nas": nas, "portfolio": portfolio, "fewshot": fewshot, "finetune": finetune,
}  # fmt: skip
