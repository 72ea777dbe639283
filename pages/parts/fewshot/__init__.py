"""Parts of the pages about few-shot learning: examples to learn from, drawings, and sample tasks."""
