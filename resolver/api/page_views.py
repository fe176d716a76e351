"""The HTML of pages. Whatever comes from a record or a request is escaped here.

Pages load nothing and run nothing, so nothing that a record holds can act in a browser.
"""

import html
from collections.abc import Iterable, Sequence
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from protocol.handle import to_text
from protocol.json_forms import time_to_json, value_to_json
from protocol.value import HandleValue
from resolver.api.answers import CORS_HEADERS
from resolver.api.page_words import CHINESE, ENGLISH, Words
from resolver.api.targets import find_target

# What an answer depends on beside its address; caches ask again each time, as a revoked identifier
# has to look revoked at once.
NEGOTIATED = {"vary": "Accept, Accept-Language", "cache-control": "no-cache"}
_HEADERS = {
    **CORS_HEADERS,
    **NEGOTIATED,
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.6 system-ui,'Noto Sans CJK SC','Microsoft YaHei',sans-serif;"
    "margin:2em auto;max-width:60em;padding:0 1em}"
    "h1{font-size:1.5em;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%}"
    "td,th{border-bottom:1px solid #8886;padding:.4em .8em .4em 0;text-align:left;"
    "vertical-align:top}"
    "td{overflow-wrap:anywhere}td.short{white-space:nowrap;overflow-wrap:normal}"
    "th{white-space:nowrap}"
    "@media(max-width:40em){.time{display:none}}"
    "code,td.data{font-family:ui-monospace,monospace;white-space:pre-wrap}"
    "input{font:inherit;padding:.3em;width:24em;max-width:60%}button{font:inherit;padding:.3em 1em}"
    "footer{margin-top:2em;font-size:.9em;opacity:.8}"
)
# Between the slashes of a path, what does not have to be written as %XX (RFC 3986 §3.3).
_PATH_SAFE = "/:@!$&'()*+,;=~"
_SHOWN_OCTETS_MAX = 2_048


def page(words: Words, title: str, body: str, status: int = 200) -> Response:
    """Return a whole page. `body` is HTML."""
    language, shown = words.language.value, html.escape(title)
    document = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{shown}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{shown}</h1>{body}</body></html>\n"
    )
    octets = document.encode("utf-8", "backslashreplace")
    headers = {**_HEADERS, "content-language": language}
    return Response(octets, status, headers, "text/html; charset=utf-8")


def error_page(words_told: str, status: int) -> Response:
    """Return a refusal for people, in both languages: which one is asked for is not known."""
    title = f"{CHINESE.cannot} · {ENGLISH.cannot}"
    return page(CHINESE, title, f'<p lang="en">{html.escape(words_told)}</p>', status)


def redirect_page(target: str) -> Response:
    """Return what is behind a redirect, for programs that do not follow it by themselves."""
    address = html.escape(target)
    document = (
        "<!doctype html><html><head><title>Handle Redirect</title></head>"
        f'<body><a href="{address}">{address}</a></body></html>\n'
    )
    return Response(document.encode(), 200, _HEADERS, "text/html; charset=utf-8")


def path_of(handle: bytes) -> str:
    """Return the path at which a handle is shown, quoted.

    A path of two slashes at its beginning would be taken for another host.
    """
    safe = _PATH_SAFE.replace("/", "") if handle.startswith(b"/") else _PATH_SAFE
    return "/" + quote(handle, safe=safe)


def link_to(handle: bytes, query: str = "") -> str:
    """Return HTML that names a handle and leads to it."""
    address = html.escape(path_of(handle) + query)
    return f'<a href="{address}"><code>{html.escape(to_text(handle))}</code></a>'


def code(text: str) -> str:
    """Return HTML that shows a text as it is."""
    return f"<code>{html.escape(text)}</code>"


def paragraph(words: str, *parts: str) -> str:
    """Return a paragraph: words with HTML in place of their braces."""
    return f"<p>{words.format(*parts)}</p>"


def values_table(words: Words, values: Iterable[HandleValue]) -> str:
    """Return the table of a handle's values."""
    head = "".join(f"<th>{each}</th>" for each in (words.index, words.type, words.data))
    rows = "".join(_value_row(words, each) for each in values)
    return f'<table><tr>{head}<th class="time">{words.changed}</th></tr>{rows}</table>'


def facts_table(rows: Sequence[tuple[str, str]]) -> str:
    """Return a table of names and what is behind them, as text."""
    cells = ((html.escape(name), html.escape(text)) for name, text in rows)
    lines = "".join(f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in cells)
    return f"<table>{lines}</table>"


def resolve_form(words: Words) -> str:
    """Return the form that asks for an identifier."""
    return (
        '<form action="/" method="get">'
        f'<label>{words.identifier} <input name="handle" required maxlength="2048"></label> '
        f"<button>{words.resolve}</button></form>"
    )


def _value_row(words: Words, value: HandleValue) -> str:
    changed = time_to_json(value.timestamp).replace("T", " ").replace("Z", " UTC")
    return (
        f'<tr><td class="short">{value.index}</td>'
        f'<td class="short">{html.escape(to_text(value.type))}</td>'
        f'<td class="data">{_shown_data(words, value)}</td>'
        f'<td class="short time">{changed}</td></tr>'
    )


def _shown_data(words: Words, value: HandleValue) -> str:
    """Return a value's data as HTML: text, a link where it is one, JSON of what has a form."""
    form = value_to_json(value)["data"]
    if form["format"] == "base64":
        return words.octets.format(len(value.data))
    if form["format"] != "string":
        return html.escape(msgspec.json.encode(form["value"]).decode())
    text = value.data[:_SHOWN_OCTETS_MAX].decode("utf-8", "ignore")
    if not all(each.isprintable() or each in "\r\n\t" for each in text):
        return words.octets.format(len(value.data))
    shown = html.escape(text)
    if len(value.data) > _SHOWN_OCTETS_MAX:
        return f"{shown}… ({words.octets.format(len(value.data))})"
    target = find_target(value.data)
    if target is None:
        return shown
    return f'<a href="{html.escape(target)}" rel="nofollow noreferrer">{shown}</a>'
