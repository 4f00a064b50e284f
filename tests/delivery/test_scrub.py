"""No form of a secret stays in a text."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from alertd.delivery.scrub import Scrubber, of_options, of_url

PASSWORD = "p@ss#%w:/rd"
ENCODED = quote(PASSWORD, safe="")


@pytest.mark.parametrize(
    "form",
    [
        PASSWORD,
        ENCODED,
        ENCODED.lower(),
        quote(PASSWORD),
        quote_plus(PASSWORD),
        base64.b64encode(f"bob:{PASSWORD}".encode()).decode(),
    ],
)
def test_an_awkward_password_is_found_in_every_form(form: str) -> None:
    """As written, decoded, encoded for URLs and for headers; from a URL as from the dict form."""
    text = f"before {form} after"
    url = f"json://bob:{ENCODED}@127.0.0.1:8080/hook"
    assert Scrubber(of_url(url, "127.0.0.1"))(text) == "before *** after"
    assert Scrubber(of_options({"schema": "json", "user": "bob", "password": PASSWORD}))(text) == "before *** after"


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        (
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts",
            ["T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ"],
        ),
        ("https://hooks.slack.com/services/T1JJ/A1BR/TIiajkd", ["T1JJ", "A1BR", "TIiajkd", "T1JJ/A1BR/TIiajkd"]),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", ["4174216298", "JHMHI8qBe7bk2ZwO5U711o3dV_js"]),
        ("tgram://123456789:abcdefg_hijk/12315544/", ["123456789", "abcdefg_hijk", "12315544"]),
        ("json://h/?+Authorization=Bearer%20s3cr3t", ["s3cr3t", "Bearer s3cr3t", "Bearer+s3cr3t"]),
        ("json://h/?-apikey=tok%2Fen&:extra=payload1", ["tok/en", "tok%2Fen", "payload1"]),
        ("json://h/?-key=ab+cd", ["ab+cd", "ab cd"]),
        ("json://us:p@ss#w/rd@h:80/", ["p@ss#w/rd", "ss#w"]),
    ],
)
def test_all_parts_of_an_address_count_as_secret(url: str, secrets: list[str]) -> None:
    """Tokens in place of hosts, webhook paths, headers; a password that is read in several ways in all of them."""
    scrub = Scrubber(of_url(url, "h" if "//h/" in url else ""))
    for secret in [*secrets, url]:
        assert secret not in scrub(f"refused: {secret}, {json.dumps(secret)}, {secret!r}")


def test_what_is_no_secret_stays_readable() -> None:
    """Host and port, and parameters that are ordinary words."""
    scrub = Scrubber(of_url("json://bob:hunter22@mail.example:8080/hook?method=POST&format=text", "mail.example"))
    said = "POST to mail.example:8080 as text: HTTP 503 Service Unavailable"
    assert scrub(said) == said


def test_a_target_without_secrets_changes_nothing() -> None:
    """An empty pattern must not match everywhere."""
    assert Scrubber([])("text") == "text"
    assert "hunter" not in repr(Scrubber(["hunter22"]))


def test_the_pieces_of_a_password_with_an_at_sign_are_secret_too() -> None:
    """Apprise takes what follows the first `@` for the host, and quotes it."""
    scrub = Scrubber(of_url("mailto://me:first@se@host.example", "host.example"))
    assert scrub("alertd <me@se>") == "alertd <***>"
    assert scrub("no host se") == "no host ***"
    assert Scrubber(of_url("mailto://me:p@w@host.example"))("alertd <me@w>") == "alertd <***>"
