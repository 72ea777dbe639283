"""Figures of this engine: `python -m tests.benchmarks.fewshot_steps --device cpu|cuda`.

Tasks per second of second-order MAML (Conv4-64, 1-shot, 5 inner steps) with the tasks at once against one by one, and
against learn2learn where `--peer` names a folder that holds it; all ways interleaved in one run. On one CPU thread the
clock is the thread's own, so that other processes disturb less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from runner.fewshot.learning import maml
from runner.fewshot.learning.episodes import Batch
from runner.fewshot.learning.inner_loop import Inner, adapt
from runner.fewshot.learning.microbatches import microbatches
from runner.fewshot.learning.task_networks import Conv4, initial_weights
from runner.shared.allocator import keep_memory
from tests.benchmarks import learn2learn_peer
from tests.runner.fewshot.learning import reference_networks

Ways = dict[str, dict[str, Callable[[], object]]]

INNER = Inner(steps=5, rate=0.1, transductive=True)


def noise(ways: int, tasks: int, device: str) -> Batch:
    """Tasks of noise; what is measured does not depend on the values."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(tasks, 2 * ways, 1, 28, 28, generator=generator)
    y = torch.arange(ways).expand(tasks, ways)
    return Batch(x[:, :ways].contiguous(), y, x[:, ways:].contiguous(), y).to(device)


def clock(device: str) -> float:
    """Seconds that count: the thread's own on one CPU thread, the wall's otherwise."""
    if device == "cuda":
        torch.cuda.synchronize()
    single = device == "cpu" and torch.get_num_threads() == 1
    return time.thread_time() if single else time.perf_counter()


def seconds(way: Callable[[], object], device: str) -> float:
    """What one turn of a way takes."""
    began = clock(device)
    way()
    return clock(device) - began


def measure(ways: int, tasks: int, device: str, rounds: int, peer_maml: Any = None) -> str:
    """Two lines: training (meta-gradients) and adaptation, as rates and as ratios by round."""
    network = Conv4(1, ways)
    meta = {name: value.to(device).requires_grad_() for name, value in initial_weights(network, 0).items()}
    batch = noise(ways, tasks, device)
    parts = list(microbatches(network, batch, INNER))
    ours: Ways = {
        "training": {
            "tasks at once": lambda: [maml.gradient(network, meta, part, INNER) for part in parts],
            "one by one": lambda: reference_networks.gradient(meta, batch, INNER),
        },
        "adaptation": {
            "tasks at once": lambda: [adapt(network, meta, part.support_x, part.support_y, INNER) for part in parts],
            "one by one": lambda: [reference_networks.learned(meta, x, y, INNER, False) for x, y in _rows(batch)],
        },
    }
    if peer_maml is not None:
        other = peer_maml(learn2learn_peer.model(ways).to(device), lr=INNER.rate)
        ours["training"]["learn2learn"] = lambda: learn2learn_peer.gradient(other, batch, INNER)
        for name, first_order in (("learn2learn", False), ("learn2learn, first order", True)):
            ours["adaptation"][name] = partial(_peer_adapts, other, batch, first_order)
    return "\n".join(_line(f"{ways}-way, {name}", tasks, turns, device, rounds) for name, turns in ours.items())


def _peer_adapts(other: Any, batch: Batch, first_order: bool) -> None:
    for x, y in _rows(batch):
        learn2learn_peer.adapted(other, x, y, INNER, first_order)


def _line(title: str, tasks: int, turns: dict[str, Callable[[], object]], device: str, rounds: int) -> str:
    """The rates of all ways, and by how much the first is faster than each other (median, least and most)."""
    for way in turns.values():
        way()
    times = [[seconds(way, device) for way in turns.values()] for _ in range(rounds)]
    parts = []
    for number, name in enumerate(turns):
        ratios = sorted(row[number] / row[0] for row in times)
        rate = tasks / statistics.median(row[number] for row in times)
        more = f" ({statistics.median(ratios):.2f}x, {ratios[0]:.2f}-{ratios[-1]:.2f})" if number else ""
        parts.append(f"{name} {rate:.1f}{more}")
    return f"{title}, {tasks} tasks, tasks a second: {'; '.join(parts)}"


def _rows(batch: Batch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(batch.support_x, batch.support_y, strict=True))


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer", type=Path, help="folder that holds the package learn2learn (0.2.0)")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("No CUDA device is available; use --device cpu.")
    torch.set_num_threads(options.threads)
    keep_memory()
    other = learn2learn_peer.load(options.peer) if options.peer else None
    print(f"torch {torch.__version__}, {options.device}, threads {options.threads}, median of {options.rounds} rounds")
    for ways in (5, 20):
        print(measure(ways, options.tasks, options.device, options.rounds, other), flush=True)


if __name__ == "__main__":
    main()
