"""Migrations: the store's tables, as numbered steps. Never edit a released step; add one.

Times (`_at`) are seconds since the epoch, UTC. JSON is stored as text.
"""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE migrations (version INTEGER, applied_at DOUBLE);

    CREATE SEQUENCE dataset_ids;
    CREATE TABLE datasets (
        id INTEGER PRIMARY KEY DEFAULT nextval('dataset_ids'), name VARCHAR UNIQUE NOT NULL, target VARCHAR,
        task VARCHAR, labels VARCHAR, columns VARCHAR, n_train BIGINT, n_valid BIGINT, n_test BIGINT, seed BIGINT,
        fingerprint VARCHAR, table_path VARCHAR, findings VARCHAR, source VARCHAR, owner VARCHAR, created_at DOUBLE);

    CREATE SEQUENCE job_ids;
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY DEFAULT nextval('job_ids'), kind VARCHAR NOT NULL, spec VARCHAR NOT NULL,
        dataset_id INTEGER, note VARCHAR, owner VARCHAR, status VARCHAR NOT NULL, priority INTEGER NOT NULL,
        cpus INTEGER, gpus INTEGER, attempt INTEGER NOT NULL, max_attempts INTEGER NOT NULL, worker_id VARCHAR,
        created_at DOUBLE, started_at DOUBLE, heartbeat_at DOUBLE, finished_at DOUBLE,
        cancel_requested BOOLEAN DEFAULT false, fraction DOUBLE DEFAULT 0, stage VARCHAR, remaining_s DOUBLE,
        event_offset BIGINT DEFAULT 0, error VARCHAR, environment VARCHAR);
    CREATE TABLE job_history (job_id INTEGER, attempt INTEGER, status VARCHAR, happened_at DOUBLE, reason VARCHAR);

    CREATE TABLE messages (job_id INTEGER, attempt INTEGER, happened_at DOUBLE, level VARCHAR, text VARCHAR);
    CREATE TABLE metrics (
        job_id INTEGER, attempt INTEGER, candidate VARCHAR, name VARCHAR, step BIGINT, value DOUBLE,
        happened_at DOUBLE);
    CREATE SEQUENCE trial_ids;
    CREATE TABLE trials (
        id BIGINT DEFAULT nextval('trial_ids'), job_id INTEGER, attempt INTEGER, dataset_id INTEGER, engine VARCHAR,
        candidate VARCHAR, algorithm VARCHAR, yardstick BOOLEAN, metric VARCHAR, fit_s DOUBLE, predict_row_s DOUBLE,
        size_bytes BIGINT, n_parameters BIGINT, happened_at DOUBLE, params VARCHAR, details VARCHAR);
    CREATE TABLE scores (
        trial_id BIGINT, dataset_id INTEGER, metric VARCHAR, valid DOUBLE, test DOUBLE, lower DOUBLE, upper DOUBLE,
        valid_error DOUBLE, test_error DOUBLE);
    CREATE TABLE artifacts (
        job_id INTEGER, attempt INTEGER, candidate VARCHAR, name VARCHAR, kind VARCHAR,
        sha256 VARCHAR, size_bytes BIGINT, happened_at DOUBLE);

    CREATE TABLE runners (
        worker_id VARCHAR PRIMARY KEY, pid INTEGER, host VARCHAR, started_at DOUBLE, heartbeat_at DOUBLE,
        machine VARCHAR);
    """,
    # shown_attempt: the last attempt that has reported results, which stay until the next one reports its own.
    """
    ALTER TABLE jobs ADD COLUMN pause_requested BOOLEAN DEFAULT false;
    ALTER TABLE jobs ADD COLUMN continues INTEGER;
    ALTER TABLE jobs ADD COLUMN shown_attempt INTEGER;
    UPDATE jobs SET shown_attempt = attempt;
    CREATE TABLE architectures (
        job_id INTEGER, attempt INTEGER, candidate VARCHAR, layers VARCHAR, happened_at DOUBLE);
    """,
    """
    CREATE TABLE meta_features (dataset_id INTEGER, name VARCHAR, value DOUBLE);
    CREATE TABLE knowledge_scenarios (
        name VARCHAR NOT NULL, metric VARCHAR, higher_is_better BOOLEAN, source VARCHAR, owner VARCHAR,
        imported_at DOUBLE, n_datasets BIGINT, n_candidates BIGINT, n_rows BIGINT);
    CREATE TABLE knowledge_errors (
        scenario VARCHAR, dataset VARCHAR, candidate VARCHAR, error DOUBLE, fit_s DOUBLE);
    CREATE TABLE knowledge_features (scenario VARCHAR, dataset VARCHAR, name VARCHAR, value DOUBLE);
    """,
    """
    CREATE TABLE refits (
        kind VARCHAR, stamp VARCHAR, file VARCHAR, fitted_at DOUBLE, took_s DOUBLE, n_datasets BIGINT, n_own BIGINT,
        n_candidates BIGINT, figures VARCHAR, marks VARCHAR, fit_times VARCHAR, curve VARCHAR, error VARCHAR);
    CREATE TABLE refit_requests (requested_at DOUBLE, owner VARCHAR);
    CREATE SEQUENCE advice_ids;
    CREATE TABLE advice (
        id INTEGER PRIMARY KEY DEFAULT nextval('advice_ids'), dataset_id INTEGER, given_at DOUBLE, fitted_at DOUBLE,
        body VARCHAR);
    CREATE TABLE advice_jobs (advice_id INTEGER, job_id INTEGER);
    """,
    # about: what an initialisation was trained on, and what a new task is compared with; body: an adaptation's results.
    """
    CREATE TABLE initialisations (
        job_id INTEGER, attempt INTEGER, dataset_id INTEGER, algorithm VARCHAR, network VARCHAR, ways INTEGER,
        shots INTEGER, n_parameters BIGINT, sha256 VARCHAR, size_bytes BIGINT, about VARCHAR, happened_at DOUBLE);
    CREATE TABLE evaluations (
        job_id INTEGER, attempt INTEGER, dataset_id INTEGER, algorithm VARCHAR, network VARCHAR, ways INTEGER,
        shots INTEGER, protocol VARCHAR, metric VARCHAR, valid DOUBLE, test DOUBLE, lower DOUBLE, upper DOUBLE,
        n_episodes BIGINT, adapt_s DOUBLE, happened_at DOUBLE);
    CREATE TABLE adaptations (job_id INTEGER, attempt INTEGER, body VARCHAR, happened_at DOUBLE);
    """,
    # The policy of a search had been a metric of the candidate "decision = option".
    """
    CREATE TABLE policy_points (
        job_id INTEGER, attempt INTEGER, source VARCHAR, decision VARCHAR, option VARCHAR, step BIGINT,
        probability DOUBLE, happened_at DOUBLE);
    INSERT INTO policy_points SELECT job_id, attempt,
        CASE name WHEN 'policy' THEN 'strategy' ELSE 'supernet' END, split_part(candidate, ' = ', 1),
        substr(candidate, strpos(candidate, ' = ') + 3), step, value, happened_at
        FROM metrics WHERE name IN ('policy', 'supernet_policy') AND contains(candidate, ' = ');
    DELETE FROM metrics WHERE name IN ('policy', 'supernet_policy') AND contains(candidate, ' = ');
    """,
)
