"""Training steps of architecture search: `python -m tests.benchmarks.nas_steps --device cpu|cuda`.

Candidates per hour with a training plan against one by one, both interleaved in one run. On one CPU thread the
clock is the thread's CPU time, which other processes disturb less.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

import torch
from torch import Tensor

from runner.nas.space.spaces import Genotype, ImageSpace, TableSpace
from runner.nas.training.sequential_population import SequentialPopulation
from runner.nas.training.training_loop import Population, train
from runner.nas.training.training_plan import TrainingPlan, build_populations, plan_training

# (image side, or 0 for a table of 20 numbers and 4 categories; width, batch, candidates)
CPU_SHAPES = (
    (8, 8, 32, 32),
    (8, 16, 64, 32),
    (14, 8, 64, 32),
    (14, 16, 64, 16),
    (28, 32, 128, 8),
    (0, 32, 64, 32),
    (0, 128, 256, 32),
)
GPU_SHAPES = ((28, 16, 128, 128), (14, 16, 64, 256), (0, 128, 256, 256))
PLANNING_S = 10.0


def sample(space: ImageSpace | TableSpace, count: int, seed: int = 0) -> list[Genotype]:
    """Return different random candidates of the space's first width."""
    rng = random.Random(seed)
    candidates: dict[str, Genotype] = {}
    while len(candidates) < count:
        genotype = (0, *(rng.randrange(n) for n in space.choices[1:]))
        candidates.setdefault(space.canonical_name(genotype), genotype)
    return list(candidates.values())


def task(side: int, width: int, rows: int, device: str) -> tuple[ImageSpace | TableSpace, Tensor, Tensor]:
    """Return a space and one batch of noise; the timings do not depend on the values."""
    torch.manual_seed(0)
    y = torch.randint(0, 10, (rows,), device=device)
    if side:
        return ImageSpace((1, side, side), 10, widths=(width,)), torch.randn(rows, 1, side, side, device=device), y
    codes = torch.randint(0, 8, (rows, 4)).float()
    x = torch.cat([torch.randn(rows, 20), codes], 1).to(device)
    return TableSpace(20, (8, 8, 8, 8), 10, widths=(width,)), x, y


def clock(device: str) -> float:
    """Return the time: CPU time on one CPU thread, else wall time."""
    if device == "cuda":
        torch.cuda.synchronize()
    single = device == "cpu" and torch.get_num_threads() == 1
    return time.thread_time() if single else time.perf_counter()


def seconds(parts: list[Population], batches: list[tuple[Tensor, Tensor, float]], device: str) -> float:
    """Return the seconds that the populations take for the batches."""
    began = clock(device)
    for part in parts:
        train(part, batches)
    return clock(device) - began


def measure(shape: tuple[int, int, int, int], device: str, rounds: int, steps: int, largest: bool) -> str:
    """Return one line: candidates of 500 steps per hour, ratios by round, and the plan."""
    side, width, rows, count = shape
    space, x, y = task(side, width, rows, device)
    candidates = sample(space, count)
    chosen = plan_training(space, candidates, x, y, budget_s=PLANNING_S, device=device)
    if largest:
        chosen = TrainingPlan(count, True, 0.0, chosen.timings, chosen.spent_s)
    batches = [(x, y, 1.0)] * steps
    plain: list[Population] = [SequentialPopulation(space, candidates, device=device, channels_last=False)]
    last: list[Population] = [SequentialPopulation(space, candidates, device=device, channels_last=True)]
    planned = build_populations(space, candidates, chosen, device=device)
    for ways in (plain, last, planned):
        seconds(ways, batches[:1], device)
    times = [[seconds(ways, batches, device) for ways in (plain, last, planned)] for _ in range(rounds)]
    ratios = sorted(first / third for first, _, third in times)
    strict = sorted(second / third for _, second, third in times)
    hourly = 3600 * count / (500 * statistics.median(third for *_, third in times) / steps)
    way = f"{chosen.size} together" if chosen.size > 1 else "one by one"
    layout = " channels last" if side and (chosen.channels_last or chosen.size > 1) else ""
    what = f"{side}x{side}" if side else "table"
    return (
        f"{what} width {width} batch {rows} K={count}: {statistics.median(ratios):.2f}x "
        f"({ratios[0]:.2f}-{ratios[-1]:.2f}) of sequential, {statistics.median(strict):.2f}x of sequential channels "
        f"last; {hourly:,.0f} candidates of 500 steps an hour; plan: {way}{layout}, found in {chosen.spent_s:.1f} s"
    )


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--no-planner", action="store_true", help="train all candidates together, even if that is slower"
    )
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("No CUDA device is available; use --device cpu.")
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.device}, threads {options.threads}, median of {options.rounds} rounds")
    for shape in CPU_SHAPES if options.device == "cpu" else GPU_SHAPES:
        print(measure(shape, options.device, options.rounds, options.steps, options.no_planner), flush=True)


if __name__ == "__main__":
    main()
