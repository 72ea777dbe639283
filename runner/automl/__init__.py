"""The H2O AutoML engine: a private JVM a job, spoken to by REST; yardsticks and scoring files beside it."""
