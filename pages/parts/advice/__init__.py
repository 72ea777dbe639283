"""Parts of the pages about advice: a plan, a ranking, and what the selector knows."""
