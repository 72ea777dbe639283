"""Errors whose text is written for the person who sees it: it names the value and the remedy."""

from __future__ import annotations

from typing import Any


class MetascoutError(Exception):
    """A known failure. `str(error)` is a sentence for the user; anything else that is raised is a bug."""


class InputError(MetascoutError, ValueError):
    """What the user gave cannot be used: a file, a form field, a setting.

    `text` is the sentence without the field's name and without the remedy, `field` the spec's field (or the option)
    that is wrong, `value` what was given there, `remedy` a sentence on what to do. `parts` are the errors of several
    fields, which a form shows one by one. `str(error)` puts all of it together.
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
        """The whole text; `names` gives what fields are called where it is shown."""
        if self.parts:
            return " ".join([self.text, *(part.sentence(names) for part in self.parts)]).strip()
        named = f"{(names or {}).get(self.field, self.field)}: {self.text}" if self.field else self.text
        return f"{named} {self.remedy}" if self.remedy else named

    def renamed(self, names: dict[str, str]) -> InputError:
        """The same error about fields of other names, such as options of a command line."""
        field = names.get(self.field, self.field) if self.field else None
        parts = tuple(part.renamed(names) for part in self.parts)
        return InputError(self.text, field=field, value=self.value, remedy=self.remedy, parts=parts)


class StoreBusyError(MetascoutError):
    """The database could not be had before the deadline."""
