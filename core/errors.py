"""Errors whose text is for the user: it names the value and the remedy."""

from __future__ import annotations

from typing import Any


class MetascoutError(Exception):
    """An expected failure: `str(error)` is a sentence for the user. Any other exception is a bug."""


class InputError(MetascoutError, ValueError):
    """The user's input cannot be used: a file, a form field, a setting.

    `text` is the sentence without the name of the field and without the remedy. `field` is the field of the spec (or
    the option) that is wrong, `value` is its value, and `remedy` is a sentence that says what to do. `parts` holds
    one error for each wrong field; a form shows them one by one. `str(error)` is the whole text.
    """

    def __init__(
        self,
        text: str,
        *,
        field: str | None = None,
        value: Any = None,
        remedy: str | None = None,
        parts: tuple[InputError, ...] = (),
    ) -> None:
        self.text, self.field, self.value, self.remedy, self.parts = text, field, value, remedy, parts
        super().__init__(self.sentence())

    def sentence(self, names: dict[str, str] | None = None) -> str:
        """Return the whole text. `names` maps fields to the names that the reader knows."""
        if self.parts:
            return " ".join([self.text, *(part.sentence(names) for part in self.parts)]).strip()
        named = f"{(names or {}).get(self.field, self.field)}: {self.text}" if self.field else self.text
        return f"{named} {self.remedy}" if self.remedy else named

    def renamed(self, names: dict[str, str]) -> InputError:
        """Return the same error with fields renamed, for instance to options of the command line."""
        field = names.get(self.field, self.field) if self.field else None
        parts = tuple(part.renamed(names) for part in self.parts)
        return InputError(self.text, field=field, value=self.value, remedy=self.remedy, parts=parts)


class StoreBusyError(MetascoutError):
    """The database was still in use at the deadline."""
