"""`python -m core knowledge import | list | remove`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.__main__ import main
from tests.core.knowledge.run_files import write


def test_a_script_can_check_import_list_and_remove(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write(tmp_path, "data,model,score\na,x,0.9\na,y,0.75\nb,x,0.5\nb,y,0.6\n"))
    assert main(["knowledge", "import", path, "--check"]) == 0
    assert "Is a higher score better" in capsys.readouterr().out
    assert main(["knowledge", "import", path]) == 1
    assert "higher_is_better" in capsys.readouterr().err
    assert main(["knowledge", "import", path, "--higher-is-better", "--metric", "AUC", "--name", "mine"]) == 0
    out = capsys.readouterr()
    assert out.out == "mine: 2 datasets x 2 candidates\n"
    assert "No meta-features" in out.err
    assert main(["knowledge", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["metric"], each["n_rows"]) for each in listed] == [("mine", "AUC", 4)]
    assert listed[0]["advises"] is False
    assert main(["knowledge", "list"]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(["knowledge", "remove", "mine"]) == 0
    assert main(["knowledge", "remove", "mine"]) == 1
    assert "no scenario 'mine'" in capsys.readouterr().err
