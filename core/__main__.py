"""The queue, the datasets and the leaderboard for scripts: `python -m core`."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pandas as pd

from core import advice, datasets, knowledge, results, specs
from core.advice import fits
from core.datasets import ColumnType
from core.errors import InputError, MetascoutError
from core.events import finite
from core.knowledge import imports
from core.queue import jobs
from core.results import initialisations
from core.store import backbones


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit code. Errors for the user go to standard error."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MetascoutError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    actions = commands.add_parser("dataset", help="register a file").add_subparsers(required=True, metavar="add")
    add = actions.add_parser("add", help="register a file and print the dataset's id")
    add.add_argument("file", type=Path)
    add.add_argument("--name", required=True)
    add.add_argument("--target", help="the column to predict; leave it out for images, whose folders are the classes")
    add.add_argument("--task", choices=("binary", "multiclass", "regression"), help="default: inferred")
    add.add_argument("--encoding", default="utf-8")
    add.add_argument("--seed", type=int, default=1, help="of the split")
    add.add_argument("--type", action="append", default=[], metavar="COLUMN=TYPE", help="correct a column's type")
    add.add_argument("--drop-rare-classes", action="store_true", help="leave out classes with fewer than 3 rows")
    add.add_argument("--side", type=int, metavar="PIXELS", help="of images; default: their own, or their median side")
    add.add_argument(
        "--inner-folders", action="store_true", help="the folders within a ZIP's folders are the classes of its images"
    )
    add.add_argument("--split-column", metavar="COLUMN", help="its values (train, valid, test) are the split")
    add.set_defaults(run=_add_dataset)

    submit = commands.add_parser("submit", help="queue the job of a JSON file ('-': standard input), print its id")
    submit.add_argument("spec")
    submit.add_argument("--priority", type=int, default=0)
    submit.set_defaults(run=_submit)

    show = commands.add_parser("jobs", help="the queue")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=_show_jobs)

    cancel = commands.add_parser("cancel", help="stop a job")
    cancel.add_argument("id", type=int)
    cancel.set_defaults(run=_cancel)

    pause = commands.add_parser("pause", help="pause a search or a meta-training; its checkpoint is kept")
    pause.add_argument("id", type=int)
    pause.set_defaults(run=_pause)

    for name, run, told in (
        ("resume", _resume, "go on with what is paused, with a larger budget if given"),
        ("extend", _extend, "queue a job that goes on from where an ended search stopped, print its id"),
    ):
        more = commands.add_parser(name, help=told)
        more.add_argument("id", type=int)
        more.add_argument("--more-seconds", type=int, metavar="N")
        more.add_argument("--more-candidates", type=int, metavar="N")
        more.add_argument("--more-candidate-epochs", type=int, metavar="N")
        more.set_defaults(run=run)

    board = commands.add_parser("leaderboard", help="all trials of a dataset, best first by the valid rows")
    board.add_argument("dataset", help="its name or id")
    board.add_argument("--metric")
    board.add_argument("--json", action="store_true")
    board.set_defaults(run=_show_leaderboard)

    few = commands.add_parser("fewshot", help="what the meta-trainings of a dataset are worth on classes held out")
    few.add_argument("dataset", help="its name or id")
    few.add_argument("--json", action="store_true")
    few.set_defaults(run=_show_few_shot)

    weights = commands.add_parser(
        "fewshot-weights", help="keep a ResNet's weights (safetensors), print the sha256 for a spec's backbone"
    )
    weights.add_argument("file", type=Path)
    weights.set_defaults(run=_keep_weights)

    advise = commands.add_parser("advise", help="which candidates will do best on a dataset, before anything runs")
    advise.add_argument("dataset", help="its name or id")
    advise.add_argument("--json", action="store_true")
    advise.add_argument(
        "--run", action="store_true", dest="queue", help="queue the jobs of the plan and print their ids only"
    )
    advise.set_defaults(run=_advise)

    refit = commands.add_parser("refit", help="fit the selectors on all that is known; the runner does it by itself")
    refit.set_defaults(run=_refit)

    _add_knowledge(commands.add_parser("knowledge", help="runs from elsewhere that advice may rest on"))
    return parser


def _add_knowledge(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="import|list|remove")
    add = actions.add_parser("import", help="an ASlib scenario (folder or ZIP), a tidy CSV or Parquet, MLflow's runs")
    add.add_argument("file", type=Path)
    add.add_argument("--name", help="of the scenario; default: the file's")
    for role in ("dataset", "candidate", "fold", "fit-s"):
        add.add_argument(f"--{role}", metavar="COLUMN", help="default: by the columns' names")
    add.add_argument("--metric", help="a column, or a value of the column of metrics")
    add.add_argument("--higher-is-better", action=argparse.BooleanOptionalAction, help="default: as its name tells")
    add.add_argument("--features", type=Path, metavar="FILE", help="meta-features: a second file, a row a dataset")
    add.add_argument("--average", action="store_true", help="rows that say different things of one pair are repeats")
    add.add_argument("--encoding", default="utf-8")
    add.add_argument("--check", action="store_true", help="only say what the file is recognised as")
    add.set_defaults(run=_import_knowledge)

    show = actions.add_parser("list", help="the imported scenarios")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=_show_knowledge)

    remove = actions.add_parser("remove", help="delete a scenario")
    remove.add_argument("name")
    remove.set_defaults(run=_remove_knowledge)


def _add_dataset(options: argparse.Namespace) -> None:
    common: dict[str, Any] = {name: getattr(options, name) for name in ("name", "seed", "drop_rare_classes")}
    common["owner"] = getpass.getuser()
    if options.target is None and options.file.suffix.lower() == ".csv":
        raise InputError(f"{options.file.name} is a table: name the column to predict with --target.")
    if options.target is None:
        dataset = datasets.register_images(
            options.file, side=options.side, inner_folders=options.inner_folders, **common
        )
    else:
        dataset = datasets.register(
            options.file,
            target=options.target,
            task=options.task,
            encoding=options.encoding,
            types=_types(options.type),
            split_column=options.split_column,
            **common,
        )
    for finding in dataset.findings:
        print(finding.text, file=sys.stderr)
    print(dataset.id)


def _types(texts: list[str]) -> dict[str, ColumnType]:
    pairs = {name: kind for name, _, kind in (text.rpartition("=") for text in texts)}
    if "" in pairs:
        raise InputError(f"--type: {pairs['']!r} is not COLUMN=TYPE, such as zip=categorical.")
    return cast(dict[str, ColumnType], pairs)  # register refuses what is no type


def _submit(options: argparse.Namespace) -> None:
    try:
        text = sys.stdin.read() if options.spec == "-" else Path(options.spec).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The spec {options.spec} cannot be read: {error}.") from None
    print(jobs.submit(specs.parse(text), priority=options.priority, user=getpass.getuser()))


def _show_jobs(options: argparse.Namespace) -> None:
    frame = jobs.overview(limit=None)
    if options.json:
        for name in ("spec", "environment"):
            frame[name] = [json.loads(text) if isinstance(text, str) else None for text in frame[name]]
    else:
        columns = ["id", "status", "kind", "dataset", "owner", "priority", "fraction", "elapsed_s", "n_trials", "error"]
        frame = frame[columns].round(2)
        frame["error"] = frame["error"].fillna("").str.slice(0, 60)
    _print(frame, options.json)


def _cancel(options: argparse.Namespace) -> None:
    status = jobs.request_cancel(options.id)
    print("cancelled" if status == "cancelled" else "the job was asked to stop")


def _pause(options: argparse.Namespace) -> None:
    status = jobs.request_pause(options.id)
    print("paused" if status == "paused" else "the job was asked to pause")


def _resume(options: argparse.Namespace) -> None:
    with _options_named(options):
        jobs.resume(options.id, **_more(options))
    print("queued")


def _extend(options: argparse.Namespace) -> None:
    with _options_named(options):
        print(jobs.extend(options.id, **_more(options), user=getpass.getuser()))


def _more(options: argparse.Namespace) -> dict[str, int | None]:
    return {
        "more_s": options.more_seconds,
        "more_candidates": options.more_candidates,
        "more_candidate_epochs": options.more_candidate_epochs,
    }


@contextmanager
def _options_named(options: argparse.Namespace) -> Iterator[None]:
    """Raise an error about a number that was given with --more-... as one about that option."""
    named = {
        "budget_s": ("--more-seconds", options.more_seconds),
        "max_candidates": ("--more-candidates", options.more_candidates),
        "max_candidate_epochs": ("--more-candidate-epochs", options.more_candidate_epochs),
    }
    try:
        yield
    except InputError as error:
        # One whose value is the sum, not what was given here, is about the job's own field.
        raise error.renamed(
            {field: option for field, (option, value) in named.items() if _about(error, value)}
        ) from None


def _about(error: InputError, value: int | None) -> bool:
    return value is not None and (error.value == value or any(part.value == value for part in error.parts))


def _show_leaderboard(options: argparse.Namespace) -> None:
    dataset = datasets.get(options.dataset)
    frame = results.leaderboard(dataset.id, metric=options.metric)
    columns = ["rank", "algorithm", "candidate", "metric", "valid", "test", "lower", "upper", "fit_s", "job_id"]
    _print(frame if options.json else frame[columns], options.json)


def _show_few_shot(options: argparse.Namespace) -> None:
    frame = initialisations.leaderboard(datasets.get(options.dataset).id)
    columns = ["algorithm", "network", "ways", "shots", "protocol", "metric", "valid", "test", "lower", "upper"]
    columns += ["n_episodes", "adapt_s", "job_id"]
    _print(frame if options.json else frame[columns].round(4), options.json)


def _keep_weights(options: argparse.Namespace) -> None:
    print(backbones.keep(options.file, options.file.name))


def _advise(options: argparse.Namespace) -> None:
    given = advice.advise(datasets.get(options.dataset).id)
    if options.queue:
        print(*advice.run(given, advice.specs_of(given), user=getpass.getuser()))
    elif options.json:
        print(json.dumps(finite(dataclasses.asdict(given)), indent=1))
    else:
        told = pd.DataFrame([dataclasses.asdict(item) for item in given.ranking])
        _print(told.assign(plan=["*" if name in given.plan else "" for name in told["candidate"]]).round(4), False)
        print(f"error: {given.metric}, lower is better. {given.reason}")


def _refit(options: argparse.Namespace) -> None:
    for kind in fits.KINDS:
        done = fits.refit(kind)
        told = (
            f"{done.n_datasets} datasets x {done.n_candidates} candidates, {done.took_s:.1f} s" if done else "nothing"
        )
        print(f"{kind}: {told}")


def _import_knowledge(options: argparse.Namespace) -> None:
    names = [field.name for field in dataclasses.fields(imports.Reading)]
    reading = imports.Reading(**{name: getattr(options, name) for name in names})
    if options.check:
        return _print_inspection(imports.inspect(options.file, reading))
    scenario, notes = imports.import_(options.file, reading, name=options.name, owner=getpass.getuser())
    print(*notes, sep="\n", end="\n" if notes else "", file=sys.stderr)
    print(f"{scenario.name}: {scenario.n_datasets:,} datasets x {scenario.n_candidates:,} candidates")


def _print_inspection(found: imports.Inspection) -> None:
    told = {name: value for name, value in dataclasses.asdict(found.roles).items() if value is not None}
    print(f"kind: {found.kind}", *(f"{role}: {column}" for role, column in told.items()), sep="\n")
    if not found.questions:
        better = "higher" if found.higher_is_better else "lower"
        print(f"{found.metric}, {better} is better: {found.n_datasets:,} datasets x {found.n_candidates:,} candidates")
        print(f"meta-features: {', '.join(found.features) or 'none'}")
    print(*found.questions, *found.notes, sep="\n")


def _show_knowledge(options: argparse.Namespace) -> None:
    frame = knowledge.overview()
    if not options.json:
        frame["imported_at"] = [time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) for at in frame["imported_at"]]
    _print(frame, options.json)


def _remove_knowledge(options: argparse.Namespace) -> None:
    knowledge.remove(options.name)
    print("removed")


def _print(frame: pd.DataFrame, as_json: bool) -> None:
    if as_json:
        print(json.dumps(json.loads(frame.to_json(orient="records", double_precision=15)), indent=1))
    else:
        print(frame.to_string(index=False, na_rep="") if len(frame) else "none")


if __name__ == "__main__":
    sys.exit(main())
