"""Few-shot learning: episodes, one `adapt` for many tasks at once, and the algorithms on it. Needs torch only."""
