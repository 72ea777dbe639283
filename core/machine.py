"""The machine: its packages and hardware, the slots it offers to jobs, and its use."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import Any

import psutil

from core.errors import InputError

_PACKAGES = ("h2o", "torch", "scikit-learn", "numpy", "pandas", "duckdb", "pyarrow")


def cpu_slots() -> int:
    """Return the threads that all jobs share: METASCOUT_CPU_SLOTS, by default the cores this process may run on."""
    return _setting("METASCOUT_CPU_SLOTS", len(psutil.Process().cpu_affinity() or []) or os.cpu_count() or 1, minimum=1)


def gpu_slots() -> int:
    """Return the GPUs that all jobs share: METASCOUT_GPU_SLOTS, by default the number of NVIDIA GPUs."""
    return _setting("METASCOUT_GPU_SLOTS", len(_gpus()), minimum=0)


def check_settings() -> None:
    """Raise InputError for the first setting of the runner that is not a valid number."""
    cpu_slots()
    gpu_slots()
    for name in ("METASCOUT_CANCEL_GRACE_S", "METASCOUT_STALL_S"):
        _setting(name, 1, minimum=1)


def _setting(name: str, default: int, *, minimum: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < minimum:
        remedy = f"Set it to a whole number of at least {minimum}, or leave it unset."
        raise InputError(f"{name} is {text!r}.", value=text, remedy=remedy)
    return int(text)


def usage() -> dict[str, Any]:
    """Return the use of the machine: cpu_frac since the last call, memory, and each GPU's name, use and memory."""
    memory = psutil.virtual_memory()
    return {
        "cpu_frac": psutil.cpu_percent() / 100,
        "cores": os.cpu_count(),
        "memory_used_bytes": memory.total - memory.available,
        "memory_bytes": memory.total,
        "gpus": [_gpu_usage(handle) for handle in _gpus()],
    }


def facts() -> dict[str, Any]:
    """Return what results depend on: package versions, Python, system, processor, memory, GPUs."""
    return {
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [_gpu_usage(handle)["name"] for handle in _gpus()],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@cache
def _gpus() -> tuple[Any, ...]:
    import pynvml

    try:
        pynvml.nvmlInit()
        return tuple(pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:  # no driver, or no GPU
        return ()


def _gpu_usage(handle: Any) -> dict[str, Any]:
    """Return a GPU's name, use and memory; None for what its driver does not report (for a slice of a GPU)."""
    import pynvml

    def query(read: Callable[[Any], Any]) -> Any:
        try:
            return read(handle)
        except pynvml.NVMLError:
            return None

    rates, memory = query(pynvml.nvmlDeviceGetUtilizationRates), query(pynvml.nvmlDeviceGetMemoryInfo)
    return {
        "name": query(pynvml.nvmlDeviceGetName) or "GPU",
        "use_frac": rates and rates.gpu / 100,
        "memory_used_bytes": memory and memory.used,
        "memory_bytes": memory and memory.total,
    }
