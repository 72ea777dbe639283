"""How good a selector's advice was on held-out past datasets, and whether to follow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.advice import regret

Array = NDArray[Any]

PLAN_SIZE = 3  # candidates of a plan; the best of them counts
TOLERANCE = 0.01  # an error within this of the best is as good as the best
MIN_DATASETS = 10  # below this number nothing can be said about the advice
COLUMNS = ("best", "advice", "sbs", f"advice_{PLAN_SIZE}", f"portfolio_{PLAN_SIZE}")

_PARTS = 10  # the defaults are chosen without one of ten parts of the datasets, which evaluate them
_ERRORS, _BEYOND_DOUBT = 1.0, 3.0  # standard errors from which a difference counts, and is beyond doubt


@dataclass(frozen=True, slots=True)
class Trust:
    """The advice on each known dataset by a selector fitted without it, and what the defaults would have got.

    `past` has the COLUMNS: the error of the best candidate, of the first of the advice and of the SBS, then the error
    of the best of a plan of three and of the fixed portfolio of three; NaN where unknown.
    """

    past: pd.DataFrame  # index dataset
    groups: Array  # [datasets] versions of one dataset have one number
    coverage: float | None  # share of the known errors that lay in their 90% interval

    @property
    def falls_back(self) -> bool:
        """Whether the first of the advice has not been better than the SBS, on any margin.

        A stricter gate does harm: if the evidence hangs on one dataset that was a disaster for the advice, the advice
        looks best when that dataset is unknown. So the mean error has no say, and no margin is required; on errors
        without any pattern the gate therefore falls back in about half of the cases. Caution, not the gate, keeps weak
        advice from disasters.
        """
        return not self.gain("advice", "sbs")[1] > 0

    @property
    def beyond_doubt(self) -> bool:
        """Whether the first of the advice has been better than the SBS by more than chance explains."""
        saving, errors = self.gain("advice", "sbs")
        return saving > 0 and errors > _BEYOND_DOUBT

    @property
    def plan_falls_back(self) -> bool:
        """Whether the plan of three has been clearly worse than the fixed portfolio of three.

        A plan is a portfolio for datasets like this one. Without such datasets it equals the fixed portfolio, so it
        need not prove more.
        """
        return not self.gain(*COLUMNS[3:])[1] > -_ERRORS

    def gain(self, advice: str, default: str) -> tuple[float, float]:
        """Return what the advice saved against the default: mean error, and its size in standard errors.

        Both are NaN for fewer than MIN_DATASETS. The second is that of the regrets' square roots: otherwise a few
        datasets with large regrets would decide, and the next sample has others. Versions of one dataset count once.
        No difference anywhere is a gain of 0.
        """
        best, of_default, of_advice = (self.past[name].to_numpy(float) for name in ("best", default, advice))
        savings = _means(np.sqrt(of_default - best), self.groups) - _means(np.sqrt(of_advice - best), self.groups)
        savings = savings[np.isfinite(savings)]
        if len(savings) < MIN_DATASETS:
            return np.nan, np.nan
        spread = savings.std(ddof=1) / np.sqrt(len(savings))
        return float(np.nanmean(of_default - of_advice)), float(savings.mean() / spread) if spread > 0 else 0.0

    def figures(self) -> pd.DataFrame:
        """Return for each column but the best: mean `regret`, `within` (share within TOLERANCE of the best), count."""
        regrets = self.past[list(COLUMNS[1:])].sub(self.past["best"], axis=0)
        exists = regrets.notna()
        within = (regrets <= TOLERANCE + 1e-9).where(exists)
        return pd.DataFrame({"regret": regrets.mean(), "within": within.mean(), "datasets": exists.sum()})

    def sentence(self, single_best: str) -> str:
        """Return how much to trust the advice, in words; `single_best` names the safe default."""
        figures = self.figures()
        count = int(figures.loc["advice", "datasets"])
        if count < MIN_DATASETS:
            return f"Only {count} datasets have comparable results. The advice can be evaluated on {MIN_DATASETS}."
        text = (
            f"Tested on {count} past datasets, each held out in turn: the advice came within {TOLERANCE} of the best"
            f" model on {figures.loc['advice', 'within']:.0%} of them, the safe default (currently {single_best}) on"
            f" {figures.loc['sbs', 'within']:.0%}."
        )
        return text + self._verdict(*figures.loc[["advice", "sbs"], "regret"])

    def _verdict(self, advice: float, single_best: float) -> str:
        """Return why the default is recommended, or what speaks against the advice."""
        regrets = f" The mean regret of the advice was {advice:.4f}, of the default {single_best:.4f}:"
        if self.falls_back:
            return f"{regrets} no clear gain, so the default is recommended."
        return f"{regrets} when the advice is wrong, it can cost much." if advice > single_best else ""


def _means(values: Array, groups: Array) -> Array:
    """Return the mean of the known values of each group; NaN where there is no value."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(groups[known], values[known], groups.max() + 1)) / np.bincount(
            groups[known], minlength=groups.max() + 1
        )


def evaluate(errors: Array, ranking: Array, plans: Array, safe: Array, fixed: Array) -> dict[str, Array]:
    """Return the COLUMNS for errors [datasets, candidates] and orders of column numbers [datasets, places].

    Ranking and safe order hold every candidate. A plan or portfolio is followed by that order, so another candidate
    takes the place of one without a result.
    """
    return {
        "best": np.where(np.isfinite(errors), errors, np.inf).min(axis=1, initial=np.inf),
        "advice": regret.first_results(errors, ranking),
        "sbs": regret.first_results(errors, safe),
        COLUMNS[3]: regret.first_results(errors, np.hstack([plans, _without(ranking, plans)]), PLAN_SIZE),
        COLUMNS[4]: regret.first_results(errors, np.hstack([fixed, _without(safe, fixed)]), PLAN_SIZE),
    }


def held_out_defaults(errors: pd.DataFrame, groups: Array, weights: Array, seed: int) -> tuple[Array, Array] | None:
    """Return each dataset's safe order [datasets, candidates] and portfolio [datasets, three], chosen without it.

    None if there is a single dataset.
    """
    n_groups = int(groups.max()) + 1
    parts = min(_PARTS, n_groups)
    if parts < 2:
        return None
    part = (np.random.default_rng(seed).permutation(n_groups) % parts)[groups]
    safe = np.empty(errors.shape, int)
    fixed = np.empty((len(errors), min(PLAN_SIZE, errors.shape[1])), int)
    for place in range(parts):
        others, counts = errors[part != place], weights[part != place]
        safe[part == place] = regret.safe_order(others, counts)
        fixed[part == place] = regret.portfolio_places(others, fixed.shape[1], counts)
    return safe, fixed


def _without(order: Array, places: Array) -> Array:
    """Return each row of an order without its `places`, in the same order."""
    rest = ~(order[:, :, None] == places[:, None, :]).any(axis=2)
    return order[rest].reshape(len(order), -1)
