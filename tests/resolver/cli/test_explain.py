from resolver.cli.explain import explain_handle_error
from resolver.client import HandleError


def test_a_handle_the_words_name_already_is_not_said_twice() -> None:
    error = HandleError("88/x is not registered", response_code=100)
    assert explain_handle_error(error, "88/x").what == "88/x is not registered (response code 100)"


def test_a_hint_that_the_words_gave_already_is_not_said_twice() -> None:
    error = HandleError("too many log-ins, try again", response_code=405, hint="try again")
    assert explain_handle_error(error).hint == ""
    other = HandleError("too many log-ins", response_code=405, hint="try again")
    assert explain_handle_error(other).hint == "try again"


def test_words_without_the_handle_get_it() -> None:
    assert explain_handle_error(HandleError("nobody answered"), "88/x").what.startswith("88/x: ")


def test_a_very_long_handle_does_not_bury_the_words() -> None:
    handle = "88/" + "x" * 2_100
    for words in (f"{handle} is too long", "too long"):
        what = explain_handle_error(HandleError(words, response_code=102), handle).what
        assert len(what) < 200
        assert "too long (response code 102)" in what
