"""Predictions of a network, as ONNX or as plain PyTorch."""

import math
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FIRST_WORD = 2  # the code of the first word; 0 is padding, 1 an unknown word
_BATCH = 256
_WORD = re.compile(r"\w+")


def add_options(parser: ArgumentParser) -> None:
    """Add --torch."""
    parser.add_argument("--torch", action="store_true", help="use model.py and weights.pt instead of model.onnx")


def predict(folder: Path, schema: Mapping[str, Any], inputs: Any, options: Namespace) -> Any:
    """Return numbers, or probabilities [rows, labels]."""
    x = _encode(inputs, schema)
    model = _torch_model(folder) if options.torch else _onnx_model(folder)
    parts = [model(x[start : start + _BATCH]) for start in range(0, len(x), _BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, len(schema["labels"])))


def split_words(cells: Iterable[Any]) -> list[str]:
    """Return the words of a row's texts in lower case; a cell that is no text has none."""
    return _WORD.findall(" ".join(cell for cell in cells if isinstance(cell, str)).lower())


def word_codes(rows: Sequence[list[str]], words: Sequence[str], length: int) -> Any:
    """Return the codes of the rows' first `length` words, int64 [rows, length]."""
    codes = {word: code for code, word in enumerate(words, start=FIRST_WORD)}
    result = np.zeros((len(rows), length), np.int64)
    for place, row in enumerate(rows):
        numbers = [codes.get(word, 1) for word in row[:length]]
        result[place, : len(numbers)] = numbers
    return result


def _encode(inputs: Any, schema: Mapping[str, Any]) -> Any:
    """Return pixels or rows as the raw inputs of the network."""
    if schema["modality"] == "image":
        return np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    if schema["modality"] == "text":
        return word_codes([split_words(row) for row in inputs], schema["words"], schema["length"])
    rows, levels = list(inputs), [column.get("levels") for column in schema["columns"]]
    codes = [None if names is None else {name: code for code, name in enumerate(names, start=1)} for names in levels]
    x = np.full((len(rows), len(levels)), math.nan)
    for place, row in enumerate(rows):
        for column, (cell, code) in enumerate(zip(row, codes, strict=True)):
            x[place, column] = float(cell or "nan") if code is None else code.get(cell, 0)
    return x


def _onnx_model(folder: Path) -> Callable[[Any], Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    return lambda x: session.run(None, {"x": x})[0]


def _torch_model(folder: Path) -> Callable[[Any], Any]:
    import torch

    sys.path.insert(0, str(folder))
    from model import load

    model = load(str(folder / "weights.pt"))

    def run(x: Any) -> Any:
        with torch.no_grad():
            return model(torch.from_numpy(x)).numpy()

    return run
