"""The command line, `python -m core`: one file a group of commands, each with an `add(commands)`."""
