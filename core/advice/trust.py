"""How good a selector's advice was on past datasets that it had not seen, and whether to follow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.advice import regret

Array = NDArray[Any]

PLAN = 3  # the candidates of a plan, of which the best is kept
NEAR = 0.01  # an error within this of the best is as good as the best
FEWEST = 10  # datasets, below which nothing can be said about the advice
COLUMNS = ("best", "advice", "sbs", f"advice_{PLAN}", f"portfolio_{PLAN}")

_PARTS = 10  # the defaults are chosen without one of ten parts of the datasets, which judge them
_ERRORS, _BEYOND_DOUBT = 1.0, 3.0  # standard errors from which a difference counts, and is beyond doubt


@dataclass(frozen=True, slots=True)
class Trust:
    """The advice on each known dataset by a selector that was fitted without it, and what the defaults would have got.

    `past` has the COLUMNS: the error of the best candidate, of the first of the advice and of the SBS, and the error of
    the best of a plan of three and of the fixed portfolio of three; NaN where it is unknown.
    """

    past: pd.DataFrame  # index dataset
    groups: Array  # [datasets] versions of one dataset have one number
    coverage: float | None  # share of the known errors that lay in their 90% interval

    @property
    def falls_back(self) -> bool:
        """Whether the first of the advice has not been better than the SBS.

        A strict gate would do harm: where the evidence hangs on one dataset that was a disaster for the advice, it is
        when that dataset is unknown that it looks best. So the mean error has no say, and no margin is asked for: it is
        caution that keeps weak advice from disasters.
        """
        return not self.gain("advice", "sbs")[1] > 0

    @property
    def beyond_doubt(self) -> bool:
        """Whether the first of the advice has been better than the SBS by so much that chance hardly explains it."""
        saved, errors = self.gain("advice", "sbs")
        return saved > 0 and errors > _BEYOND_DOUBT

    @property
    def plan_falls_back(self) -> bool:
        """Whether the plan of three has been clearly worse than the fixed portfolio of three.

        A plan is a portfolio for the datasets like this one: where none is, it is the fixed portfolio of itself, so
        that it need not prove more.
        """
        return not self.gain(*COLUMNS[3:])[1] > -_ERRORS

    def gain(self, advice: str, default: str) -> tuple[float, float]:
        """What the advice saved against the default: mean error, and its size in standard errors; NaN for too few.

        The second is that of the regrets' square roots: a few datasets with large regrets, of which the next sample has
        others, would decide otherwise. Versions of one dataset count once. No difference anywhere is a gain of 0.
        """
        best, of_default, of_advice = (self.past[name].to_numpy(float) for name in ("best", default, advice))
        saved = _means(np.sqrt(of_default - best), self.groups) - _means(np.sqrt(of_advice - best), self.groups)
        saved = saved[np.isfinite(saved)]
        if len(saved) < FEWEST:
            return np.nan, np.nan
        spread = saved.std(ddof=1) / np.sqrt(len(saved))
        return float(np.nanmean(of_default - of_advice)), float(saved.mean() / spread) if spread > 0 else 0.0

    def figures(self) -> pd.DataFrame:
        """For each column but the best: mean `regret`, `within` (share of datasets within NEAR of the best), count."""
        regrets = self.past[list(COLUMNS[1:])].sub(self.past["best"], axis=0)
        known = regrets.notna()
        within = (regrets <= NEAR + 1e-9).where(known)
        return pd.DataFrame({"regret": regrets.mean(), "within": within.mean(), "datasets": known.sum()})

    def sentence(self, single_best: str) -> str:
        """How much to trust the advice, for the reader; `single_best` names the safe default."""
        figures = self.figures()
        known = int(figures.loc["advice", "datasets"])
        if known < FEWEST:
            return f"There are comparable results on {known} datasets; it takes {FEWEST} to judge the advice."
        text = (
            f"On {known} past datasets this advice was within {NEAR} of the best in"
            f" {figures.loc['advice', 'within']:.0%} of cases; the safe default would have been in"
            f" {figures.loc['sbs', 'within']:.0%} (chosen without the dataset each time; today it is {single_best})."
        )
        return text + self._verdict(*figures.loc[["advice", "sbs"], "regret"])

    def _verdict(self, advice: float, single_best: float) -> str:
        """Why the default is recommended, or what speaks against the advice."""
        regrets = f" Its mean regret was {advice:.4f} against {single_best:.4f} of the default:"
        if self.falls_back:
            return f"{regrets} no clear gain, so the default is recommended."
        return f"{regrets} where it was wrong, it could cost much." if advice > single_best else ""


def _means(values: Array, groups: Array) -> Array:
    """The mean of the known values of each group; NaN where none is known."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(groups[known], values[known], groups.max() + 1)) / np.bincount(
            groups[known], minlength=groups.max() + 1
        )


def judge(errors: Array, ranking: Array, plans: Array, safe: Array, fixed: Array) -> dict[str, Array]:
    """The COLUMNS of datasets' errors [datasets, candidates] for orders of column numbers [datasets, places].

    Ranking and safe order hold every candidate; the first places of a plan or portfolio are followed by that order, so
    that another candidate takes the place of one without a result.
    """
    return {
        "best": np.where(np.isfinite(errors), errors, np.inf).min(axis=1, initial=np.inf),
        "advice": regret.first_known(errors, ranking),
        "sbs": regret.first_known(errors, safe),
        COLUMNS[3]: regret.first_known(errors, np.hstack([plans, _without(ranking, plans)]), PLAN),
        COLUMNS[4]: regret.first_known(errors, np.hstack([fixed, _without(safe, fixed)]), PLAN),
    }


def held_out_defaults(errors: pd.DataFrame, groups: Array, weights: Array, seed: int) -> tuple[Array, Array] | None:
    """The safe order [datasets, candidates] and the portfolio [datasets, three] for each dataset, chosen without it.

    None where there is a single dataset.
    """
    n_groups = int(groups.max()) + 1
    parts = min(_PARTS, n_groups)
    if parts < 2:
        return None
    part = (np.random.default_rng(seed).permutation(n_groups) % parts)[groups]
    safe = np.empty(errors.shape, int)
    fixed = np.empty((len(errors), min(PLAN, errors.shape[1])), int)
    for place in range(parts):
        kept, counts = errors[part != place], weights[part != place]
        safe[part == place] = regret.safe_order(kept, counts)
        fixed[part == place] = regret.portfolio_places(kept, fixed.shape[1], counts)
    return safe, fixed


def _without(order: Array, taken: Array) -> Array:
    """Each row of an order without the places that are taken, in the same order."""
    kept = ~(order[:, :, None] == taken[:, None, :]).any(axis=2)
    return order[kept].reshape(len(order), -1)
