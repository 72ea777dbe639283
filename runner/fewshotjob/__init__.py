"""Few-shot jobs: datasets as tasks, a meta-training as a job, and the initialisation that it leaves as a file."""
