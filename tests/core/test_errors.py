"""Structured errors: the sentence, the parts and other names of fields."""

from __future__ import annotations

from core.errors import InputError, MetascoutError

ERROR = InputError("3 is too short.", field="budget_s", value=3, remedy="Use at least 10.")
BOTH = InputError("The job cannot be submitted.", parts=(ERROR, InputError("There is no such file.", field="spec")))


def test_the_sentence_has_the_field_the_text_and_the_remedy() -> None:
    assert str(ERROR) == "budget_s: 3 is too short. Use at least 10."
    assert str(InputError("There is no job 7.")) == "There is no job 7."
    assert (ERROR.text, ERROR.value) == ("3 is too short.", 3)


def test_a_sentence_can_have_other_names_of_fields() -> None:
    assert ERROR.sentence({"budget_s": "Time budget"}) == "Time budget: 3 is too short. Use at least 10."
    assert ERROR.sentence({"folds": "Folds"}) == str(ERROR)


def test_an_error_of_several_fields_has_all_their_sentences() -> None:
    assert str(BOTH) == (
        "The job cannot be submitted. budget_s: 3 is too short. Use at least 10. spec: There is no such file."
    )
    assert BOTH.sentence({"spec": "File"}).endswith("File: There is no such file.")


def test_a_renamed_error_keeps_its_value_and_remedy() -> None:
    renamed = BOTH.renamed({"budget_s": "--more-seconds"})
    assert [part.field for part in renamed.parts] == ["--more-seconds", "spec"]
    assert (renamed.parts[0].value, renamed.parts[0].remedy) == (3, "Use at least 10.")
    assert str(renamed.parts[0]) == "--more-seconds: 3 is too short. Use at least 10."
    assert [part.field for part in BOTH.parts] == ["budget_s", "spec"]


def test_an_input_error_is_caught_as_a_known_error_and_as_a_value_error() -> None:
    assert isinstance(ERROR, MetascoutError)
    assert isinstance(ERROR, ValueError)
