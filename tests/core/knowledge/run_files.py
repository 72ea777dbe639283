"""Files of runs from elsewhere: a tidy table and an ASlib scenario."""

from __future__ import annotations

from pathlib import Path

from core import knowledge

TIDY = """dataset,candidate,error,fit_s,feature:n_rows
a,forest,0.1,2,100
a,linear,0.2,1,100
b,forest,0.3,4,200
b,linear,0.25,3,200
"""
DESCRIPTION = """scenario_id: TOY-2026
performance_measures:
- runtime
maximize:
- false
performance_type:
- runtime
algorithm_cutoff_time: 50
feature_steps:
  all:
    provides:
    - size
"""
RUNS = """@RELATION runs
% a comment
@ATTRIBUTE instance_id STRING
@ATTRIBUTE repetition NUMERIC
@ATTRIBUTE algorithm STRING
@ATTRIBUTE runtime NUMERIC
@ATTRIBUTE runstatus {ok, timeout}

@DATA
'one, quoted',1,fast,2,ok
'one, quoted',2,fast,4,ok
'one, quoted',1,slow,50,timeout
'one, quoted',2,slow,20,ok
two,1,fast,50,timeout
two,1,slow,?,ok
three,1,fast,7,ok
three,1,slow,8,ok
"""
FEATURES = """@RELATION features
@ATTRIBUTE instance_id STRING
@ATTRIBUTE repetition NUMERIC
@ATTRIBUTE 'size of it' NUMERIC
@ATTRIBUTE empty NUMERIC
@DATA
'one, quoted',1,10,?
'one, quoted',2,20,?
two,1,30,?
three,1,?,?
"""


def write(folder: Path, text: str, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def scenario(folder: Path, *, description: str = DESCRIPTION, runs: str = RUNS, features: str = FEATURES) -> Path:
    path = folder / "TOY"
    path.mkdir()
    for name, text in (
        ("description.txt", description), ("algorithm_runs.arff", runs), ("feature_values.arff", features)
    ):  # fmt: skip
        (path / name).write_text(text)
    return path


def pair(name: str, dataset: str, candidate: str) -> float:
    error: float = knowledge.from_scenario(name).errors.loc[f"{name}: {dataset}", candidate]
    return error
