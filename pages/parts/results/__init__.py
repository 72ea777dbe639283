"""What a job has found, as its page shows it: one module a kind, which the kind's row names (core/kinds.py).

Each has `tabs(job)`, the kind's tabs by name with the function that draws each; `figures(job)`, its numbers by name;
and `BOARD`, the page that ranks such results. Kinds with trials can leave it to `trial_results`.
"""
