"""ASlib scenarios, as a folder and as a ZIP, whole and broken."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from core import knowledge
from core.datasets.files import archives
from core.errors import InputError
from core.knowledge import imports
from tests.core.knowledge.run_files import DESCRIPTION, RUNS, pair, scenario


@pytest.mark.parametrize("packed", [False, True])
def test_an_aslib_scenario_is_read_with_par10_from_a_folder_and_from_a_zip(
    home: Path, tmp_path: Path, packed: bool
) -> None:
    path = scenario(tmp_path)
    if packed:
        with zipfile.ZipFile(tmp_path / "toy.zip", "w") as archive:
            for file in path.iterdir():
                archive.write(file, f"TOY/{file.name}")
        path = tmp_path / "toy.zip"
    result, notes = imports.import_(path)
    assert (result.name, result.metric, result.n_datasets, result.n_candidates) == ("TOY-2026", "runtime", 3, 2)
    assert pair("TOY-2026", "one, quoted", "fast") == 3
    assert pair("TOY-2026", "one, quoted", "slow") == (500 + 20) / 2  # a run over the limit counts ten times it
    assert np.isnan(pair("TOY-2026", "two", "slow"))
    known = knowledge.from_scenario("TOY-2026")
    assert known.features["size of it"].dropna().to_dict() == {"TOY-2026: one, quoted": 15, "TOY-2026: two": 30}
    assert known.fit_s.loc["TOY-2026: one, quoted", "slow"] == 20
    assert any("2 runs that did not end well: counted as 10 times the limit of 50 s" in note for note in notes)


def test_without_a_limit_an_unfinished_run_is_left_out_and_yes_is_a_yaml_truth(home: Path, tmp_path: Path) -> None:
    text = DESCRIPTION.replace("cutoff_time: 50", "cutoff_time: '?'")
    imports.import_(scenario(tmp_path, description=text), name="s")
    assert pair("s", "one, quoted", "slow") == 20
    quality = "scenario_id: Q\nperformance_measures: runtime\nmaximize: yes\nperformance_type: solution_quality\n"
    (tmp_path / "TOY" / "description.txt").write_text(quality)
    result, _ = imports.import_(tmp_path / "TOY")
    assert result.higher_is_better
    assert pair("Q", "one, quoted", "slow") == 1 - 35


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"description": ""}, "must give performance_measures"),
        (
            {"runs": RUNS.replace("two,1,slow", "two,slow")},
            r"runs.arff, line 15: the header has 5 attributes",
        ),
        ({"runs": RUNS.replace("'one, quoted',2,fast", "'one, quoted,2,fast")}, "a quote is not closed"),
        ({"runs": RUNS.replace("@DATA", "")}, "no line @DATA"),
        ({"runs": RUNS.replace("runstatus", "state")}, "no attribute runstatus"),
        ({"runs": RUNS.replace("runtime", "repetition")}, "attribute 'repetition' twice"),
        ({"runs": RUNS.partition("@DATA")[0] + "@DATA\n"}, "no rows after @DATA"),
        ({"runs": RUNS + "{0 a}\n"}, "sparse rows"),
    ],
)
def test_a_broken_scenario_is_refused_with_its_place(
    home: Path, tmp_path: Path, files: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        imports.import_(scenario(tmp_path, **files))


def test_a_folder_that_is_no_scenario_and_a_file_that_is_not_there_are_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"photos is not an ASlib scenario: it has no description.txt and no"):
        imports.import_(tmp_path / "photos")
    with pytest.raises(InputError, match=r"gone\.csv cannot be read"):
        imports.import_(tmp_path / "gone.csv")


def test_a_zip_bomb_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_SMALL_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("description.txt", "w", force_zip64=True) as entry:
            for _ in range(2):
                entry.write(bytes(2**20))
        archive.writestr("algorithm_runs.arff", RUNS)
    with pytest.raises(InputError, match="ZIP bomb"):
        imports.import_(tmp_path / "bomb.zip")
