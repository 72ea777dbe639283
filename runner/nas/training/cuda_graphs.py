"""A function of tensors, recorded once as a CUDA graph and then replayed without the cost of each kernel launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# From tensors to one tensor. Everything else that it changes is at the same memory in each call; it never waits.
Step = Callable[..., Tensor]
WARM_UP = 3  # calls in which libraries choose algorithms and allocate workspace: a graph cannot record that


class Recording:
    """Fixed memory for a step's inputs of certain shapes and, on a GPU, the graph of the step after the first call.

    On a CPU, and where recording fails, the step runs on the same memory without a graph.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self.inputs = tuple(x.clone() for x in inputs)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.output: Tensor | None = None
        self.pending = self.inputs[0].is_cuda

    def __call__(self, step: Step, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> Tensor:
        """Return the step's output for these inputs; `state` is all that it changes, at the same memory each time."""
        for place, x in zip(self.inputs, inputs, strict=True):
            place.copy_(x)
        if self.pending:
            self.pending = False
            self._record(step, state)
        if self.graph is None or self.output is None:
            return step(*self.inputs)
        self.graph.replay()
        return self.output.clone()

    def _record(self, step: Step, state: Sequence[Tensor]) -> None:
        device, before = self.inputs[0].device, [tensor.clone() for tensor in state]
        try:
            with torch.cuda.device(device):
                self.graph, self.output = _record_graph(step, self.inputs)
        except RuntimeError:
            # The step waits for the device, or memory is short: without a graph it works or raises the error again.
            self.graph = self.output = None
        # The warm-up calls have changed the state.
        torch.cuda.synchronize(device)
        for tensor, old in zip(state, before, strict=True):
            tensor.copy_(old)


def _record_graph(step: Step, inputs: Sequence[Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    # Entered here as well: a failed recording does not leave its stream.
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step(*inputs)
        with torch.cuda.graph(graph, stream=side):
            output = step(*inputs)
    return graph, output
