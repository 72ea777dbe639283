"""A function of tensors recorded once as a CUDA graph, and then replayed without the cost of each launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Tensors to one tensor; all else that it changes lies in the same memory at each call, and it never waits.
Step = Callable[..., Tensor]
WARM_UP = 3  # libraries choose algorithms and take their work space in the first calls, which no graph can hold


class Recording:
    """Fixed memory for a step's inputs of certain shapes, and on a GPU its graph once it was called.

    Where recording fails, and on the processor, the same step runs on the same memory without a graph.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self.inputs = tuple(x.clone() for x in inputs)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.output: Tensor | None = None
        self.wanted = self.inputs[0].is_cuda

    def __call__(self, step: Step, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> Tensor:
        """The step's output for these inputs; `state` is all that the step changes, the same memory in each call."""
        for place, x in zip(self.inputs, inputs, strict=True):
            place.copy_(x)
        if self.wanted:
            self.wanted = False
            self._record(step, state)
        if self.graph is None or self.output is None:
            return step(*self.inputs)
        self.graph.replay()
        return self.output.clone()

    def _record(self, step: Step, state: Sequence[Tensor]) -> None:
        device, before = self.inputs[0].device, [tensor.clone() for tensor in state]
        try:
            with torch.cuda.device(device):
                self.graph, self.output = _recorded(step, self.inputs)
        except RuntimeError:
            # A wait for the device, too little memory: whatever it was, without a graph it works or says so.
            self.graph = self.output = None
        # The calls before the recording were real ones.
        torch.cuda.synchronize(device)
        for tensor, its in zip(state, before, strict=True):
            tensor.copy_(its)


def _recorded(step: Step, inputs: Sequence[Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    # Entered here, too, because a failed recording does not leave its stream.
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step(*inputs)
        with torch.cuda.graph(graph, stream=side):
            output = step(*inputs)
    return graph, output
