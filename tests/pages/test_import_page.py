"""The page that imports runs: what is uploaded is recognised, corrected, imported, listed and removed."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core import knowledge, metafeatures
from core.knowledge import imports
from core.knowledge.recognition import Reading
from tests.core.knowledge.run_files import DESCRIPTION, FEATURES, RUNS, TIDY, pair, write
from tests.pages.apptest import fine, opened, shown
from tests.pages.filled import ODD


def upload(name: str, content: str | bytes, at: AppTest | None = None) -> AppTest:
    """The page with this file chosen."""
    at = opened("import_runs") if at is None else at
    data = content if isinstance(content, bytes) else content.encode()
    at.file_uploader[0].upload(name, data)
    return at.run()


def key(home: Path, widget: str) -> str:
    """The key of a widget of the first upload."""
    [file] = {path.name for path in home.joinpath("uploads").iterdir()}
    return f"{widget}_{file}_utf-8"


def errors(at: AppTest) -> list[str]:
    """The sentences that block the button."""
    assert not at.exception
    return [shown(error.value) for error in at.error]


def test_a_tidy_file_is_recognised_previewed_imported_and_listed(home: Path) -> None:
    at = fine(upload("../My past [1].csv", TIDY))
    assert [metric.value for metric in at.metric] == ["2", "2", "4", "1"]
    preview = at.dataframe[-1].value
    assert list(preview.columns) == ["dataset", "candidate", "error", "fit_s", "feature:n_rows"]
    assert preview.iloc[3].tolist() == ["b", "linear", 0.25, 3.0, 200.0]
    assert any("a table of runs with 4 rows" in shown(caption.value) for caption in at.caption)
    assert at.text_input[-1].value == "My past _1"
    at.text_input[-1].set_value("past").run()
    at.button(key="import").click().run()
    fine(at)
    assert "past is imported: 2 datasets, 2 candidates." in shown(at.toast[0].value)
    assert {link.label for link in at.page_link} >= {"Advice"}
    assert pair("past", "a", "linear") == 0.2
    assert (knowledge.get("past").source, knowledge.get("past").owner) == ("../My past [1].csv", "local")
    row = at.dataframe[-1].value.iloc[0]
    assert (row["name"], row["metric"], row["results"], row["use"]) == ("past", "error ↓", 4, "Comparison")
    assert not at.metric  # the uploader is empty again
    assert list(home.joinpath("uploads").iterdir()) == []


def test_a_reader_without_a_scenario_is_told_what_to_do_and_what_a_file_looks_like(home: Path, tmp_path: Path) -> None:
    at = fine(opened("import_runs"))
    assert any("No runs have been imported yet. Upload a file above." in shown(item.value) for item in at.markdown)
    assert not at.button
    found = imports.inspect(write(tmp_path, at.code[0].value))  # the example is one that can be imported
    assert (found.n_datasets, found.n_candidates, found.features, found.questions) == (2, 2, ("n_rows",), ())


def test_columns_and_metric_that_were_not_recognised_are_chosen(home: Path) -> None:
    text = "name,kind,round,speed,took\n" + "".join(
        f"{name},{kind},{round_},{value},1.5\n"
        for name in "ab" for kind in "xy" for round_, value in ((1, 0.25), (2, 0.75))
    )  # fmt: skip
    at = upload("odd.csv", text)
    assert [sentence.partition("?")[0] for sentence in errors(at)] == [
        "Which column of odd.csv names the dataset",
        "Which column of odd.csv names the candidate",
        "Which column of odd.csv holds the error or a metric",
    ]
    assert at.button(key="import").disabled
    for widget, choice in (("dataset", "name"), ("candidate", "kind"), ("metric", "speed")):
        at.selectbox(key=key(home, widget)).set_value(choice)
    assert errors(at.run()) == ["Is a higher speed better, or a lower one? Say which."]
    at.selectbox(key=key(home, "better")).set_value(True).run()
    assert "contradicts itself" in errors(at)[0]
    at.selectbox(key=key(home, "fold")).set_value("round")
    at.selectbox(key=key(home, "fit_s")).set_value("took")
    fine(at.run())
    at.button(key="import").click().run()
    fine(at)
    found = knowledge.get("odd")
    assert (found.metric, found.higher_is_better, found.n_rows) == ("speed", True, 4)
    assert pair("odd", "a", "x") == 0.5
    assert knowledge.from_scenario("odd").fit_s.loc["odd: a", "x"] == 1.5


def test_rows_that_contradict_each_other_are_named_and_averaged_only_where_asked(home: Path) -> None:
    at = upload("twice.csv", TIDY + "a,forest,0.3,2,100\n")
    assert "'a', candidate 'forest' has the values 0.1 and 0.3" in errors(at)[0]
    assert at.button(key="import").disabled
    assert not at.metric
    at.toggle(key=key(home, "average")).set_value(True).run()
    fine(at)
    assert any("their mean counts" in shown(note.value) for note in at.info)
    at.button(key="import").click().run()
    assert pair("twice", "a", "forest") == pytest.approx(0.2)


def test_what_is_left_out_is_said_before_the_import(home: Path) -> None:
    at = fine(upload("runs.csv", TIDY + "a,forest,0.1,2,100\nb,tree,inf,1,200\n,forest,0.5,1,\n"))
    told = " ".join(shown(note.value) for note in at.info)
    assert "1 row repeats another one: counted once." in told
    assert "1 row without a dataset or a candidate: left out." in told
    assert "1 row in which 'error' is missing, infinite or not a number: left out." in told
    assert [metric.value for metric in at.metric][2] == "4"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "bad *file*.csv is empty"),
        ("dataset,candidate,error\n", "but no rows"),
        ("PK\3\4 no archive", "bad *file*.csv"),
        ("a,b\n1,2\n1,2,3\n", "the header has 2 columns, this line has 3"),
        ("dataset,candidate,error\na,x,1\na,y,1\n", "usable runs of 1 dataset and 2 candidates"),
        ("dataset,candidate,value,maximize\na,x,1,true\na,y,1,false\n", "mixes directions"),
        ("dataset,candidate,metric,value\na,x,auc,1\na,x,rmse,1\n", "several metrics: auc, rmse"),
        ("dataset,candidate,error,feature:k\na,x,1,blue\na,y,1,blue\nb,x,1,red\nb,y,1,red\n", "holds texts"),
    ],
)
def test_a_file_that_cannot_be_used_ends_in_a_sentence_with_its_own_name(home: Path, content: str, said: str) -> None:
    at = upload("bad *file*.csv", content)
    assert said in errors(at)[0]
    assert not any(re.search(r"[0-9a-f]{32}", sentence) for sentence in errors(at))
    assert not at.metric
    assert all(button.disabled for button in at.button)
    assert knowledge.all_scenarios() == []


def test_a_direction_that_the_file_denies_is_refused(home: Path) -> None:
    at = fine(upload("runs.csv", TIDY))
    at.selectbox(key=key(home, "better")).set_value(True).run()
    assert "itself says that lower is better" in errors(at)[0]
    at.selectbox(key=key(home, "better")).set_value(None).run()
    fine(at)


def test_a_column_of_scores_takes_the_users_word_for_its_metric(home: Path) -> None:
    at = upload("runs.csv", TIDY.replace("error", "score"))
    assert errors(at) == ["Is a higher score better, or a lower one? Say which."]
    at.text_input(key=key(home, "metric")).set_value("rmse").run()
    fine(at)
    at.button(key="import").click().run()
    fine(at)
    assert (knowledge.get("runs").metric, knowledge.get("runs").task_type) == ("rmse", "regression")


def test_of_a_column_of_metrics_one_is_chosen(home: Path) -> None:
    rows = "".join(f"{d},{c},{m},0.25\n" for d in "ab" for c in "xy" for m in ("auc", "rmse"))
    at = upload("long.csv", f"dataset,candidate,metric,value\n{rows}")
    at.selectbox(key=key(home, "metric")).set_value("auc").run()
    fine(at)
    at.button(key="import").click().run()
    assert pair("long", "b", "y") == 0.75


def test_meta_features_from_a_second_file_let_a_scenario_advise(home: Path) -> None:
    ours = list(metafeatures.NAMES)
    at = fine(upload("runs.csv", TIDY.replace(",feature:n_rows", "").replace(",100", "").replace(",200", "")))
    assert any("has 0 of our" in shown(note.value) for note in at.info)
    assert set(ours) == set(at.dataframe[0].value["Name"])
    at.file_uploader(key=key(home, "features")).upload(
        "bad *described*.csv", f"dataset,{','.join(ours)}\nz{',1' * len(ours)}\n".encode()
    )
    assert "None of the datasets in runs.csv" in errors(at.run())[0]
    second = f"dataset,{','.join(ours)}\na{',1' * len(ours)}\nb{',2' * len(ours)}\n"
    at.file_uploader(key=key_of_second(at)).upload("described.csv", second.encode()).run()
    fine(at)
    assert "can advise on new datasets" in shown(at.success[0].value)
    at.button(key="import").click().run()
    fine(at)
    assert at.dataframe[-1].value["use"].tolist() == ["Advice"]
    assert (knowledge.gather("classification").about["origin"] == "runs").sum() == 2
    assert list(home.joinpath("uploads").glob("*.csv")) == []


def key_of_second(at: AppTest) -> str:
    """The key of the uploader of meta-features."""
    return str(at.file_uploader[1].key)


def test_an_aslib_scenario_offers_its_own_name_and_measures(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "whatever.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (
            ("description.txt", DESCRIPTION), ("algorithm_runs.arff", RUNS), ("feature_values.arff", FEATURES)
        ):  # fmt: skip
            archive.writestr(f"TOY/{name}", text)
    at = fine(upload("whatever.zip", path.read_bytes()))
    assert any("an ASlib scenario with 8 rows" in shown(caption.value) for caption in at.caption)
    assert any("10 times the limit of 50 s" in shown(note.value) for note in at.info)
    assert at.text_input[-1].value == "TOY-2026"
    at.button(key="import").click().run()
    fine(at)
    assert knowledge.get("TOY-2026").source == "whatever.zip"


def test_the_runs_of_mlflow_are_averaged(home: Path) -> None:
    rows = "".join(f"{i},FINISHED,{'ab'[i % 2]},{'xy'[i // 2 % 2]},{i / 10}\n" for i in range(8))
    at = upload("runs.csv", f"run_id,status,params.data,params.kind,metrics.auc\n{rows}")
    assert any("the runs of MLflow" in shown(caption.value) for caption in at.caption)
    assert at.toggle(key=key(home, "average")).disabled
    at.selectbox(key=key(home, "candidate")).set_value("params.kind").run()
    fine(at)
    at.button(key="import").click().run()
    assert pair("runs", "a", "x") == pytest.approx(1 - 0.2)


def test_a_name_that_is_taken_or_odd_blocks_the_button(home: Path, tmp_path: Path) -> None:
    imports.import_(write(tmp_path, TIDY), name="past")
    at = upload("past.csv", TIDY)
    assert errors(at) == ["The name 'past' is taken by a scenario. Choose another, or remove that one first."]
    assert at.button(key="import").disabled
    at.text_input[-1].set_value("../x").run()
    assert "cannot be used" in errors(at)[0]
    at.text_input[-1].set_value("").run()
    assert "cannot be used" in errors(at)[0]
    at.text_input[-1].set_value("past 2").run()
    fine(at)
    at.button(key="import").click().run()
    assert {scenario.name for scenario in knowledge.all_scenarios()} == {"past", "past 2"}


def test_a_scenario_is_removed_after_a_second_question(home: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        imports.import_(write(tmp_path, TIDY), name=name)
    at = fine(opened("import_runs"))
    at.button(key="remove").click().run()
    assert len(knowledge.all_scenarios()) == 2
    at.selectbox(key="removed").set_value("one")
    at.button(key="remove_now").click().run()
    fine(at)
    assert [scenario.name for scenario in knowledge.all_scenarios()] == ["two"]
    assert "one is removed" in shown(at.toast[0].value)
    assert at.dataframe[-1].value["name"].tolist() == ["two"]


def test_what_stands_in_a_file_is_shown_as_it_is(home: Path) -> None:
    odd = pd.DataFrame(
        [
            (name, model, i / 10, i)
            for i, (name, model) in enumerate((d, m) for d in (ODD, "=1+1") for m in ("*b*", ODD))
        ],
        columns=["dataset", "candidate", f"{ODD} points", ODD],
    )
    at = upload(f"{ODD}.csv", odd.to_csv(index=False))
    assert ODD in errors(at)[0]  # no metric among the columns
    at.selectbox(key=key(home, "metric")).set_value(f"{ODD} points").run()
    at.selectbox(key=key(home, "better")).set_value(True).run()
    fine(at)
    assert any(f"By {ODD} points" in shown(caption.value) for caption in at.caption)
    assert any(ODD in shown(note.value) for note in at.info)  # a column that was ignored
    at.text_input[-1].set_value("odd_ones_").run()
    at.button(key="import").click().run()
    fine(at)
    assert "odd_ones_ is imported" in shown(at.toast[0].value)
    assert "_" not in re.sub(r"\\_", "", at.toast[0].value)
    assert at.dataframe[-1].value["source"].tolist() == [f"{ODD}.csv"]


def test_a_widget_does_not_read_the_file_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Reading] = []
    inspect = imports.inspect
    monkeypatch.setattr(imports, "inspect", lambda path, reading: read.append(reading) or inspect(path, reading))
    at = upload("runs.csv", TIDY + "a,forest,0.3,2,100\n")
    assert len(read) == 1
    at.text_input[-1].set_value("past").run()
    at.selectbox(key="runs_encoding").run()
    assert len(read) == 1
    at.toggle(key=key(home, "average")).set_value(True).run()
    at.toggle(key=key(home, "average")).set_value(False).run()
    assert [reading.average for reading in read] == [False, True]


def test_who_is_signed_in_imports_under_their_name(home: Path) -> None:
    at = upload("runs.csv", TIDY)
    at.user = {"is_logged_in": True, "email": "ada@example.com"}
    at.button(key="import").click().run()
    assert knowledge.get("runs").owner == "ada@example.com"
