"""The device that a spec asks for."""

from __future__ import annotations

from core.errors import InputError
from core.specs import FewShotSpec, NASSpec


def device_of(spec: NASSpec | FewShotSpec) -> str:
    """Return "cuda" or "cpu"; raise InputError where a GPU is asked for and torch can use none."""
    import torch

    if spec.gpus and not torch.cuda.is_available():
        text = "This machine has no GPU that torch can use."
        raise InputError(text, field="gpus", value=spec.gpus, remedy="Choose 0.")
    return "cuda" if spec.gpus else "cpu"
