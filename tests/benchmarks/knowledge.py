"""What the shipped knowledge is worth: advice on its datasets, each family held out, and what own datasets add.

The learning curve uses the real datasets as a team's own, the others (generated, scikit-learn's) as the shipped ones;
in each of twelve draws a third of the real ones is held out. `python -m tests.benchmarks.knowledge FILE.png` draws it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from playwright.sync_api import sync_playwright
from threadpoolctl import threadpool_limits

from core import knowledge
from core.advice import fits, regret
from core.advice.learning_curve import evaluate, regret_by_size
from core.advice.selector import Selector
from core.knowledge import TaskType
from tests.benchmarks import own_home
from tests.pages.browser import chromium

_FOLDS, _SEEDS, _DRAWS = 10, 3, 12
_SIZES = (0, 10, 20, 30, 40)
_SHIPPED_MARKS = ("generated", "scikit-learn")
_LINES = {
    "advice": ("Advice", "#3B7DD8", "solid"),
    "sbs": ("Safe default", "#E69F00", "solid"),
    "advice_3": ("Plan of 3", "#3B7DD8", "dot"),
    "portfolio_3": ("Fixed portfolio of 3", "#E69F00", "dot"),
}


def figures() -> Iterator[tuple[str, str]]:
    """Yield the figures of this part as they are measured."""
    with own_home(), threadpool_limits(1):
        for task_type in knowledge.TASK_TYPES:
            yield from _held_out(task_type)
        for task_type in knowledge.TASK_TYPES:
            for size, row in curve(task_type).iterrows():
                regrets = ", ".join(f"{name.lower()} {row[key]:.4f}" for key, (name, *_) in _LINES.items())
                yield f"{task_type}: mean regret with {size} own datasets known beside the shipped", regrets


def _held_out(task_type: TaskType) -> Iterator[tuple[str, str]]:
    """Ten folds of whole families, three seeds."""
    table = knowledge.from_shipped_file(task_type)
    families = fits.families(table)
    features, numbers, gaps, savings, within = (
        fits.training_features(table),
        pd.factorize(families)[0],
        [],
        [],
        [],
    )
    for seed in range(_SEEDS):
        folds = (np.random.default_rng(seed).permutation(numbers.max() + 1) % _FOLDS)[numbers]
        pasts = []
        for fold in range(_FOLDS):
            out = folds == fold
            selector = Selector(seed=seed).fit(features[~out], table.errors[~out], groups=families)
            pasts.append(evaluate(selector, features[out], table.errors[out]))
        past = pd.concat(pasts)
        regrets = past.sub(past["best"], axis=0)
        gaps.append(regret.closed_gap(*(past[name].mean() for name in ("advice", "sbs", "best"))) or 0.0)
        savings.append(1 - regrets["advice_3"].mean() / regrets["portfolio_3"].mean())
        within.append((regrets[["advice", "sbs"]] <= 0.01).mean().to_numpy())
    advice, default = np.mean(within, axis=0)
    n_families = families.nunique()
    yield (
        f"{task_type}: known datasets, families, candidates",
        f"{len(table.errors)}, {n_families}, {table.errors.shape[1]}",
    )
    yield f"{task_type}: closed gap, top 1", f"{np.mean(gaps):+.1%} ({', '.join(f'{gap:+.1%}' for gap in gaps)})"
    yield f"{task_type}: best of 3 against the fixed portfolio of 3", f"{np.mean(savings):+.1%} regret saved"
    yield f"{task_type}: within 0.01 of the best", f"advice {advice:.0%}, safe default {default:.0%}"


def curve(task_type: TaskType) -> pd.DataFrame:
    """Return the learning curve of own datasets beside the shipped ones."""
    table = knowledge.from_shipped_file(task_type)
    shipped = table.about.index[table.about["mark"].isin(_SHIPPED_MARKS)]
    n_own = len(table.errors) - len(shipped)
    sizes = [size for size in _SIZES if size <= 0.69 * n_own]
    return regret_by_size(
        fits.training_features(table),
        table.errors,
        sizes,
        shipped=list(shipped),
        repeats=_DRAWS,
    )


def draw(path: Path) -> None:
    """Draw the learning curves as a picture."""
    with own_home(), threadpool_limits(1):
        frame = curve("classification")
    figure = go.Figure()
    for key, (name, color, dash) in _LINES.items():
        figure.add_scatter(x=frame.index, y=frame[key], name=name, line={"color": color, "dash": dash, "width": 3})
    figure.update_layout(
        template="simple_white", width=800, height=420, font_size=14, yaxis_rangemode="tozero",
        xaxis_title="Own datasets beside the shipped ones", yaxis_title="Mean regret on held-out datasets (1 - AUC)",
    )  # fmt: skip
    with sync_playwright() as playwright:
        tab = chromium(playwright).new_page(viewport={"width": 820, "height": 440})
        tab.set_content(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}))
        tab.wait_for_selector(".main-svg")
        tab.screenshot(path=path)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
