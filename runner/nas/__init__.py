"""Neural architecture search: spaces, strategies, and population-batched training. Needs torch and numpy only."""
