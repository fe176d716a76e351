import pytest

from resolver.api.negotiation import Form, Language, wanted_form, wanted_language

CHROMIUM = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,"
    "*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.PAGE),
        ("*/*", Form.PAGE),
        (CHROMIUM, Form.PAGE),
        ("text/*", Form.PAGE),
        ("application/json", Form.JSON),
        ("Application/JSON; charset=utf-8", Form.JSON),
        ("application/json, text/plain, */*", Form.JSON),
        ("application/json, text/html", Form.PAGE),
        ("application/json;q=0.5, text/html;q=0.4", Form.JSON),
        ("application/json;q=0, */*", Form.PAGE),
        ("application/json;q=high", Form.PAGE),
        ("text/turtle", Form.OTHER),
        ("text/turtle, text/html;q=0.5", Form.OTHER),
        ("text/turtle;q=0.5, text/html", Form.PAGE),
        ("application/rdf+xml, application/json;q=0.9", Form.OTHER),
        (";;,,q=1", Form.OTHER),
    ],
)
def test_what_form_is_wanted(accept: str, form: Form) -> None:
    assert wanted_form(accept) is form


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", Language.ENGLISH),
        ("zh-CN,zh;q=0.9,en;q=0.8", Language.CHINESE),
        ("en-GB,en;q=0.9,zh;q=0.8", Language.ENGLISH),
        ("zh-TW", Language.CHINESE),
        ("fr, zh;q=0.2", Language.CHINESE),
        ("zh;q=0, en;q=0.1", Language.ENGLISH),
        ("*", Language.ENGLISH),
        ("zhx", Language.ENGLISH),
    ],
)
def test_what_language_is_wanted(header: str, language: Language) -> None:
    assert wanted_language(header) is language
