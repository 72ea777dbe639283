"""Errors whose text is written for the person who sees it: it names the value and the remedy."""


class MetascoutError(Exception):
    """A known failure. `str(error)` is a sentence for the user; anything else that is raised is a bug."""


class InputError(MetascoutError, ValueError):
    """What the user gave cannot be used: a file, a form field, a setting."""


class StoreBusyError(MetascoutError):
    """The database could not be had before the deadline."""
