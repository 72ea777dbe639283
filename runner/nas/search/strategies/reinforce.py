"""REINFORCE with an LSTM controller (Zoph and Le 2017): a policy over decisions, trained by policy gradient."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from runner.nas.search.strategies.history import Candidate, Space
from runner.nas.search.strategies.strategy import Strategy
from runner.nas.space.spaces import Policy

_TRIES = 50  # samples of the policy per candidate before it is drawn at random


class Controller(nn.Module):
    """An LSTM with one step per decision, from the last chosen option to the logits of the next decision."""

    def __init__(self, choices: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        self.choices = choices
        self.offsets = [0, *np.cumsum(choices).tolist()]  # where each decision's options begin in the embedding
        self.first = nn.Parameter(torch.zeros(1, hidden))
        self.embedding = nn.Embedding(self.offsets[-1], hidden)
        self.cell = nn.LSTMCell(hidden, hidden)
        self.heads = nn.ModuleList(nn.Linear(hidden, options) for options in choices)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def log_probabilities(self, genotypes: torch.Tensor) -> list[torch.Tensor]:
        """Return for each decision the log-probabilities [rows, options], given each row's earlier decisions."""
        state, token, results = None, self.first.expand(len(genotypes), -1), []
        for place, head in enumerate(self.heads):
            state = self.cell(token, state)
            results.append(torch.log_softmax(head(state[0]), dim=1))
            token = self.embedding(genotypes[:, place] + self.offsets[place])
        return results

    @torch.no_grad()
    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return n genotypes drawn from the policy, one a row."""
        state, token = None, self.first.expand(n, -1)
        genotypes = np.zeros((n, len(self.choices)), dtype=np.int64)
        for place, head in enumerate(self.heads):
            state = self.cell(token, state)
            edges = torch.softmax(head(state[0]).double(), dim=1).cumsum(1).numpy()
            below = edges < rng.random((n, 1)) * edges[:, -1:]
            genotypes[:, place] = below.sum(1)
            token = self.embedding(torch.from_numpy(genotypes[:, place]) + self.offsets[place])
        return genotypes


class Reinforce(Strategy):
    """Samples candidates from the controller, which learns from the errors of each `batch` of them.

    The loss is -(advantage x log-probability of the sampled decisions) - `entropy` x entropy of the policy. The
    advantage is the reward (minus the error, in units of the spread so far) minus a moving baseline.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        *,
        batch: int = 4,
        lr: float = 0.01,
        entropy: float = 0.02,
        decay: float = 0.9,
        hidden: int = 64,
    ) -> None:
        super().__init__(space, seed)
        self.batch, self.entropy, self.decay = batch, entropy, decay
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.controller = Controller(space.choices, hidden)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=lr)
        self.n_learned = 0  # errors that the policy has learned from
        self.baseline: float | None = None

    def ask(self, n: int) -> list[Candidate]:
        """Return n new candidates, or fewer where the space is exhausted."""
        proposals = [tuple(row) for row in self.controller.sample(self.history.rng, _TRIES * n).tolist()]
        return [self.history.add(candidate) for candidate in self.history.new_candidates(n, proposals)]

    def tell(self, candidate: Candidate, error: float) -> None:
        """Tell the error of a candidate (lower is better); NaN means that it failed."""
        super().tell(candidate, error)
        if len(self.history.error_by_name) - self.n_learned >= self.batch:
            self._learn()

    def _learn(self) -> None:
        """Take one step of the policy gradient on the candidates since the last step."""
        errors = self.history.errors()
        low, middle = np.quantile(errors, [0.0, 0.5])
        rewards = (middle - errors) / max(middle - low, 1e-12)
        rewards = np.clip(rewards[self.n_learned :], -1.0, None)
        genotypes = torch.from_numpy(self.history.genotypes()[self.n_learned :])
        if self.baseline is None:
            self.baseline = float(rewards.mean())
        loss = policy_loss(self.controller, genotypes, rewards - self.baseline, self.entropy)
        self.baseline = self.decay * self.baseline + (1 - self.decay) * float(rewards.mean())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.n_learned = len(errors)

    def policy(self) -> Policy:
        """Return for each decision the probability of each option, averaged over samples of the earlier decisions."""
        rng = np.random.default_rng(0)  # separate numbers: to read the policy must not change the search
        with torch.no_grad():
            genotypes = torch.from_numpy(self.controller.sample(rng, 256))
            means = [logs.double().exp().mean(0).tolist() for logs in self.controller.log_probabilities(genotypes)]
        decisions = zip(self.history.space.decisions, means, strict=True)
        return {name: dict(zip(options, mean, strict=True)) for (name, options), mean in decisions}

    def state(self) -> dict[str, Any]:
        """Return all that is needed to continue, as values that `torch.save` can hold."""
        return super().state() | {
            "controller": {name: value.clone() for name, value in self.controller.state_dict().items()},
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "learned": self.n_learned,
            "baseline": self.baseline,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state: the search continues exactly as the saved one would."""
        super().load_state(state)
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.n_learned, self.baseline = state["learned"], state["baseline"]


def policy_loss(
    controller: Controller, genotypes: torch.Tensor, advantages: np.ndarray, entropy: float
) -> torch.Tensor:
    """Return the surrogate loss whose gradient is the policy gradient (REINFORCE) with an entropy bonus."""
    logs = controller.log_probabilities(genotypes)
    chosen = torch.stack([log.gather(1, genotypes[:, [place]]).squeeze(1) for place, log in enumerate(logs)]).sum(0)
    spread = torch.stack([-(log.exp() * log).sum(1) for log in logs]).sum(0)
    return -(torch.as_tensor(advantages, dtype=torch.float32) * chosen).mean() - entropy * spread.mean()
