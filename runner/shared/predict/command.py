"""The command line of a downloaded model: read a file, predict, write the predictions."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from . import output, reader


def main(folder: Path) -> None:
    """Predict with the model in the folder, as its schema.json describes it, what the command line asks for.

    The module `with_FORMAT` of the model's format has `predict(folder, schema, inputs, options)`, which takes the rows
    or the pixels of `reader` and returns a number each, or a probability for each label. It may have
    `add_options(parser)`.
    """
    schema = json.loads((folder / "schema.json").read_text("utf-8"))
    model = importlib.import_module(f".with_{schema['format']}", __package__)
    parser = argparse.ArgumentParser(prog="predict.py", description="Predict with this model.")
    images = schema["modality"] == "image"
    parser.add_argument("input", help="image file, or folder of images" if images else "CSV file with a header")
    parser.add_argument("output", help="CSV file to write")
    parser.add_argument("--encoding", default="utf-8-sig", help="of a CSV input (default: UTF-8)")
    if hasattr(model, "add_options"):
        model.add_options(parser)
    options = parser.parse_args()
    names, inputs = None, None
    if not Path(options.input).exists():
        sys.exit(f"There is no file {options.input}: give the path of an existing one.")
    try:
        if images:
            names, inputs = reader.read_images(options.input, schema["shape"])
        else:
            inputs = reader.read_rows(options.input, options.encoding, schema)
        predictions = model.predict(folder, schema, inputs, options)
    except UnicodeError:
        sys.exit(f"{options.input} is not text of this encoding: give another one, such as --encoding latin-1.")
    output.write(options.output, schema, predictions, names)
