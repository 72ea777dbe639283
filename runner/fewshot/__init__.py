"""Few-shot learning: the jobs of meta-training and fine-tuning; below them `learning`, which needs PyTorch only."""
