"""What the knowledge that ships is worth: advice on its datasets, each family unseen, and how own datasets add to it.

The learning curve takes the real datasets for a team's own, and the others (generated, scikit-learn's) for what ships;
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
from tests.browser import chromium

_FOLDS, _SEEDS, _DRAWS = 10, 3, 12
_SIZES = (0, 10, 20, 30, 40)
_NOT_OWN = ("generated", "scikit-learn")
_LINES = {
    "advice": ("Advice", "#3B7DD8", "solid"),
    "sbs": ("Safe default", "#E69F00", "solid"),
    "advice_3": ("Plan of 3", "#3B7DD8", "dot"),
    "portfolio_3": ("Fixed portfolio of 3", "#E69F00", "dot"),
}


def figures() -> Iterator[tuple[str, str]]:
    """The figures of this part, as they are measured."""
    with own_home(), threadpool_limits(1):
        for kind in knowledge.TASK_TYPES:
            yield from _unseen(kind)
        for kind in knowledge.TASK_TYPES:
            for size, row in curve(kind).iterrows():
                told = ", ".join(f"{name.lower()} {row[key]:.4f}" for key, (name, *_) in _LINES.items())
                yield f"{kind}: mean regret with {size} own datasets known beside the shipped", told


def _unseen(kind: TaskType) -> Iterator[tuple[str, str]]:
    """Ten folds of whole families, three seeds."""
    known = knowledge.from_shipped_file(kind)
    families = fits.families(known)
    features, numbers, gaps, saved, near = fits.training_features(known), pd.factorize(families)[0], [], [], []
    for seed in range(_SEEDS):
        folds = (np.random.default_rng(seed).permutation(numbers.max() + 1) % _FOLDS)[numbers]
        pasts = []
        for fold in range(_FOLDS):
            out = folds == fold
            selector = Selector(seed=seed).fit(features[~out], known.errors[~out], groups=families)
            pasts.append(evaluate(selector, features[out], known.errors[out]))
        past = pd.concat(pasts)
        regrets = past.sub(past["best"], axis=0)
        gaps.append(regret.closed_gap(*(past[name].mean() for name in ("advice", "sbs", "best"))) or 0.0)
        saved.append(1 - regrets["advice_3"].mean() / regrets["portfolio_3"].mean())
        near.append((regrets[["advice", "sbs"]] <= 0.01).mean().to_numpy())
    advice, default = np.mean(near, axis=0)
    n_families = families.nunique()
    yield f"{kind}: known datasets, families, candidates", f"{len(known.errors)}, {n_families}, {known.errors.shape[1]}"
    yield f"{kind}: closed gap, top 1", f"{np.mean(gaps):+.1%} ({', '.join(f'{gap:+.1%}' for gap in gaps)})"
    yield f"{kind}: best of 3 against the fixed portfolio of 3", f"{np.mean(saved):+.1%} regret saved"
    yield f"{kind}: within 0.01 of the best", f"advice {advice:.0%}, safe default {default:.0%}"


def curve(kind: TaskType) -> pd.DataFrame:
    """The learning curve of own datasets beside the shipped ones."""
    known = knowledge.from_shipped_file(kind)
    shipped = known.about.index[known.about["mark"].isin(_NOT_OWN)]
    n_own = len(known.errors) - len(shipped)
    sizes = [size for size in _SIZES if size <= 0.69 * n_own]
    return regret_by_size(fits.training_features(known), known.errors, sizes, shipped=list(shipped), repeats=_DRAWS)


def draw(path: Path) -> None:
    """The learning curves as a picture."""
    with own_home(), threadpool_limits(1):
        found = curve("classification")
    figure = go.Figure()
    for key, (name, color, dash) in _LINES.items():
        figure.add_scatter(x=found.index, y=found[key], name=name, line={"color": color, "dash": dash, "width": 3})
    figure.update_layout(
        template="simple_white", width=800, height=420, font_size=14, yaxis_rangemode="tozero",
        xaxis_title="Own datasets known beside those that ship", yaxis_title="Mean regret on unseen datasets (1 - AUC)",
    )  # fmt: skip
    with sync_playwright() as playwright:
        tab = chromium(playwright).new_page(viewport={"width": 820, "height": 440})
        tab.set_content(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}))
        tab.wait_for_selector(".main-svg")
        tab.screenshot(path=path)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
