"""Meta-learning on tensors: episodes, networks for many tasks at once, the algorithms, training and evaluation."""
