"""A store like one after a year: 1,000 jobs, 100,000 trials, 1,000,000 metric rows."""

from __future__ import annotations

import json
import time

from core import datasets, specs
from core.specs import AutoMLSpec
from core.store import database

_DETAILS = {
    "confusion": {"labels": ["a", "b"], "counts": [[50, 7], [5, 52]]},
    "importance": [{"feature": f"feature {n}", "value": 1 / (n + 1)} for n in range(20)],
    "curve": {"x_label": "trees", "x": list(range(50)), "series": {"valid": [1 / (n + 1) for n in range(50)]}},
}
_PARAMS = {"ntrees": 50, "max_depth": 6, "learn_rate": 0.1, "sample_rate": 0.8}


def fill(*, n_jobs: int = 1_000, n_trials: int = 100_000, n_metrics: int = 1_000_000) -> None:
    """Fill the store of the current data directory with jobs, trials and metrics of four sample datasets."""
    ids = [datasets.add_sample(name).id for name in ("breast_cancer", "wine", "digits", "diabetes")]
    tasks = {dataset.id: dataset.task for dataset in datasets.all_datasets()}
    now = time.time()
    statuses = "['succeeded', 'succeeded', 'succeeded', 'failed', 'cancelled']"
    with database.transaction(write=True) as connection:
        connection.execute(
            "INSERT INTO jobs (kind, spec, dataset_id, note, owner, status, priority, cpus, gpus, attempt,"
            " max_attempts, created_at, started_at, heartbeat_at, finished_at, fraction, environment)"
            f" SELECT 'automl', $spec, ($ids::INTEGER[])[i % {len(ids)} + 1], 'note ' || i, 'user ' || i % 7,"
            f" {statuses}[i % 5 + 1], 0, 2, 0, 1, 3, $now - 90 * i, $now - 90 * i + 5, $now - 90 * i + 70,"
            " $now - 90 * i + 70, 1.0, '{}' FROM range($n) r(i)",
            {"spec": specs.to_json(AutoMLSpec(dataset_id=ids[0])), "ids": ids, "now": now, "n": n_jobs},
        )
        connection.execute(
            "INSERT INTO trials (job_id, attempt, dataset_id, engine, candidate, algorithm, yardstick, metric, fit_s,"
            " predict_row_s, size_bytes, happened_at, params, details)"
            f" SELECT i % $jobs + 1, 1, ($ids::INTEGER[])[(i % $jobs) % {len(ids)} + 1], 'automl',"
            " 'GBM_' || i, ['GBM', 'XGBoost', 'GLM', 'DRF', 'DeepLearning'][i % 5 + 1], i % 20 = 0, 'auc',"
            " random() * 60, pow(10, -6 + 3 * random()), (random() * 1e7)::BIGINT, $now - i, $params, $details"
            " FROM range($n) r(i)",
            {"jobs": n_jobs, "ids": ids, "now": now, "n": n_trials}
            | {"params": json.dumps(_PARAMS), "details": json.dumps(_DETAILS)},
        )
        for dataset_id, task in tasks.items():
            for metric in ("auc", "accuracy", "log_loss") if task != "regression" else ("rmse", "mae", "r2"):
                connection.execute(
                    "INSERT INTO scores SELECT id, dataset_id, $metric, 1 - e, 1 - e, 0.98 - e, 1.02 - e, e, e"
                    " FROM (SELECT id, dataset_id, 0.05 + 0.3 * random() AS e FROM trials WHERE dataset_id = $dataset)",
                    {"metric": metric, "dataset": dataset_id},
                )
        connection.execute(
            "INSERT INTO metrics SELECT i % $jobs + 1, 1, NULL, 'best_valid', i // $jobs, 1 - 1 / (2 + i // $jobs),"
            " $now - i FROM range($n) r(i)",
            {"jobs": n_jobs, "now": now, "n": n_metrics},
        )
        connection.execute(
            "INSERT INTO messages SELECT i % $jobs + 1, 1, $now - i, 'info', 'line ' || i FROM range($jobs * 20) r(i)",
            {"jobs": n_jobs, "now": now},
        )
        connection.execute(
            "INSERT INTO job_history SELECT id, 1, status, finished_at, NULL FROM jobs",
        )
