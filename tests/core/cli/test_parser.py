"""Errors and broken pipes of `python -m core`, and its help."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.__main__ import main
from core.cli.parser import build_parser
from core.datasets import Dataset
from core.specs import AutoMLSpec
from tests.engines import submit_many


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["dataset", "add", "x.csv", "--name", "n"], "--target"),
        (["submit", "no-such-file.json"], "no-such-file.json"),
        (["cancel", "7"], "no job 7"),
        (["pause", "7"], "no job 7"),
        (["resume", "7"], "no job 7"),
        (["extend", "7"], "no job 7"),
        (["leaderboard", "nothing"], "nothing"),
        (["dataset", "add", "no-such.csv", "--name", "n", "--target", "t"], "no-such.csv"),
        (["dataset", "add", "x.csv", "--name", "n", "--target", "t", "--type", "numeric"], "COLUMN=TYPE"),
    ],
)
def test_a_wrong_argument_is_named_and_the_exit_code_is_1(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert main(arguments) == 1
    assert text in capsys.readouterr().err


def test_a_closed_pipe_is_not_an_error(dataset: Dataset) -> None:
    submit_many(AutoMLSpec(dataset_id=dataset.id, note="x" * 500), 50)
    command = f"{sys.executable} -m core jobs --json | head -c 100"
    out = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert len(out.stdout) == 100
    assert out.stderr == ""


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands, those of groups included."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield child
                yield from _leaves(child)


def test_every_command_and_every_argument_has_a_help_text() -> None:
    commands = list(_leaves(build_parser()))
    assert len(commands) >= 17
    for command in commands:
        assert command.description, command.prog
        for action in command._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), (command.prog, action.dest)
    assert "resume a paused job" in build_parser().format_help()
