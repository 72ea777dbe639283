"""What both processes share: the queue, the datasets, the results. Imports no engine and no web framework."""
