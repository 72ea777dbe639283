"""The H2O AutoML engine: a private Java process for each job, used through its REST interface."""
