"""One letter to one real target: what arrives, and what is said if it does not."""

from __future__ import annotations

import io
import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from alertd.config.schema import Settings
from alertd.delivery import channel, render
from alertd.delivery.letter import Letter
from alertd.delivery.sender import LogSender, library, plugin_of
from alertd.delivery.trial import letter_for
from alertd.errors import DeliveryError
from alertd.model import Entry, Kind, ServiceFacts
from tests.delivery.examples import PROD, RULE, alert, at, dict_target, lost, notification, resolved, target
from tests.sinks import Answer, HttpInbox, http_inbox, mail_inbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alertd.config.schema import Target


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    """Run a webhook inbox."""
    with http_inbox() as box:
        yield box


def send(to: Target, what: object = None) -> None:
    """Send one letter, by default the notification of the contract, decided just now."""
    letter = render.letter(notification(), PROD, delivered=at(0).wall) if what is None else what
    assert isinstance(letter, Letter)
    channel.build(to, "ops #1").send(letter)


def refusal(to: Target) -> DeliveryError:
    """Return the error of a send that must fail."""
    with pytest.raises(DeliveryError) as caught:
        send(to)
    return caught.value


def test_a_webhook_gets_title_text_and_type(inbox: HttpInbox) -> None:
    """Through Apprise's json: plain text, lines intact."""
    send(target(inbox.url + "/hook"))
    (got,) = inbox.wait_for_count(1)
    assert got["title"] == "[FIRING] apache-minimum apache · 1 of 3 up, needs 2 · critical · prod-fra"
    assert got["message"].splitlines()[0] == "since 04:12:41 CEST"
    assert got["message"].splitlines()[-1] == "id 9abc"
    assert (got["type"], got["path"]) == ("failure", "/hook")


def test_a_resolve_is_a_success(inbox: HttpInbox) -> None:
    """In Apprise's words."""
    send(target(inbox.url), render.letter(resolved(), PROD, delivered=at(200).wall))
    assert inbox.wait_for_count(1)[0]["type"] == "success"


def test_a_mail_bears_the_notifications_id_in_a_header() -> None:
    """Of each message its own, beside the user's headers; mail filters see repetitions by it."""
    with mail_inbox() as mail:
        sender = channel.build(target(f"{mail.url}&+X-Tenant=42"), "ops #1")
        for identifier in ("9abc", "9def"):
            sender.send(render.letter(notification(id=identifier), PROD, delivered=at(0).wall))
        received = mail.wait_for_count(2)
    assert [got["headers"]["X-Alertd-Notification"] for got in received] == ["9abc", "9def"]
    assert {got["headers"]["X-Tenant"] for got in received} == {"42"}


def test_a_mail_keeps_scripts_lines_and_length() -> None:
    """Subject and body in any script; 500 instances cut to what the plugin takes."""
    rule = replace(RULE, name="支付-minimum", summary="Grüße aus 支付 <b>&amp;</b> *x* _y_")
    many = ServiceFacts("支付", 0, 500, None, tuple(lost(f"支付-{number}", "core") for number in range(500)))
    entry = Entry(Kind.FIRING, alert(rule=rule, service="支付"))
    letter = render.letter(notification(entry, services={"支付": many}), PROD, delivered=at(0).wall)
    with mail_inbox() as mail:
        send(target(mail.url), letter)
        (got,) = mail.wait_for_count(1)
    assert got["subject"] == "[FIRING] 支付-minimum 支付 · 1 of 3 up, needs 2 · critical · prod-fra"
    lines = (got["text"] or got["html"]).splitlines()
    assert lines[0] == "Grüße aus 支付 <b>&amp;</b> *x* _y_"
    assert sum(line.startswith("DOWN 支付-") for line in lines) > 300
    assert lines[-4].startswith("and ")
    assert lines[-1] == "id 9abc"


def test_the_dict_form_reaches_the_same_target(inbox: HttpInbox) -> None:
    """With an awkward password and a header, neither of them URL-encoded."""
    send(
        dict_target(
            schema="json",
            host="127.0.0.1",
            port=str(inbox.port),
            user="bob",
            password="p@ss#%w:/rd",
            **{"+Authorization-2": "Bearer a b%20c"},
        )
    )
    (got,) = inbox.wait_for_count(1)
    assert got["headers"]["Authorization"] == "Basic Ym9iOnBAc3MjJXc6L3Jk"
    assert got["headers"]["Authorization-2"] == "Bearer a b%20c"


# --- targets with limits and markup ----------------------------------------------------------------------------------


@pytest.fixture
def lookalike(inbox: HttpInbox, monkeypatch: pytest.MonkeyPatch) -> HttpInbox:
    """Let Slack, Discord and Telegram be the inbox."""
    base = f"http://127.0.0.1:{inbox.port}"
    for schema, attribute in (("slack", "webhook_url"), ("discord", "notify_url"), ("tgram", "notify_url")):
        monkeypatch.setattr(plugin_of(schema), attribute, f"{base}/{schema}/")
    return inbox


SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"
DISCORD = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"
TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/12315544/"


def test_slack_shows_markup_as_it_was_written(lookalike: HttpInbox) -> None:
    """`<>&` arrive as Slack wants them escaped, and nothing turns bold or into a mention."""
    send(target(SLACK), letter_for("ops", "test-1"))
    (got,) = lookalike.wait_for_count(1)
    text = got["attachments"][0]["text"]
    assert "&lt;b&gt;&amp;amp;&lt;/b&gt;" in text
    assert "&lt;!channel&gt;" in text
    assert text.splitlines()[-1] == "id test-1"


@pytest.mark.parametrize(("url", "limit"), [(DISCORD, 2000), (TELEGRAM, 4096), (DISCORD + "?format=markdown", 2000)])
def test_what_a_target_takes_is_never_exceeded(lookalike: HttpInbox, url: str, limit: int) -> None:
    """Also after the conversion to markup has made the text longer; and the id is there."""
    lookalike.default = Answer(body=b'{"ok": true, "result": {"message_id": 1}}')
    send(target(url), letter_for("ops", "test1"))
    (got,) = lookalike.wait_for_count(1)
    text = got.get("text") or got.get("content") or got["embeds"][0]["description"]
    assert limit * 0.5 < len(text) <= limit
    assert "id test1" in text


def test_a_test_message_fills_even_a_large_target(inbox: HttpInbox) -> None:
    """All of the awkward lines arrive where there is room, unchanged."""
    send(target(inbox.url), letter_for("ops", "test-1"))
    (got,) = inbox.wait_for_count(1)
    assert got["title"].startswith("[TEST] ops · <>&_* · Grüße 支付 🚨")
    assert "<b>&amp;</b> *not bold* _not italic_" in got["message"]
    assert len(got["message"].splitlines()) > 200


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words", "recoverable", "retry_after"),
    [
        (Answer(500), "HTTP 500 Internal Server Error: ok", True, None),
        (Answer(503, body=b"<html>busy</html>"), "HTTP 503 Service Unavailable", True, None),
        (Answer(429, (("Retry-After", "7"),), b"slow\ndown"), "HTTP 429 Too Many Requests: slow down", True, 7.0),
        (Answer(503, (("Retry-After", "999999"),), b""), "HTTP 503 Service Unavailable", True, 3600.0),
        (Answer(503, (("Retry-After", "soon"),), b""), "HTTP 503 Service Unavailable", True, None),
        (Answer(404, body=b"no such page"), "HTTP 404 Not Found: no such page", True, None),
        (Answer(401, body=b""), "HTTP 401 Unauthorized", True, None),
        (Answer(400, body=b"bad \x00 payload"), "HTTP 400 Bad Request: bad \\x00 payload", False, None),
        (Answer(413, body=b""), "HTTP 413 Request Entity Too Large", False, None),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
def test_a_refusal_says_why_and_whether_to_try_again(
    inbox: HttpInbox, answer: Answer, words: str, *, recoverable: bool, retry_after: float | None
) -> None:
    """A refused message is not tried again; a refusing target is, no sooner than it asks for."""
    inbox.default = answer
    error = refusal(target(inbox.url + "/hook"))
    assert (str(error), error.recoverable, error.retry_after) == (words, recoverable, retry_after)


def test_a_date_in_retry_after_is_judged_by_the_servers_own_clock(inbox: HttpInbox) -> None:
    """Our clock may be wrong, or the server's: the difference of its two dates is what it means."""
    inbox.default = Answer(503, (("Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT"),))
    assert refusal(target(inbox.url)).retry_after == 0.0


def test_a_refused_connection_is_named() -> None:
    """Where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        error = refusal(target(f"json://127.0.0.1:{free.getsockname()[1]}/hook"))
    assert (str(error), error.recoverable) == ("connection refused", True)


def test_a_target_that_does_not_answer_is_named() -> None:
    """With the shortest read timeout that the URL can ask for."""
    with http_inbox(Answer(hang=True)) as box:
        error = refusal(target(box.url + "/?rto=0.2"))
    assert (str(error), error.recoverable) == ("no answer in time", True)


def test_what_a_mail_server_says_is_passed_on() -> None:
    """The SMTP answer, behind Apprise's own words."""
    with mail_inbox() as mail:
        mail.refusal = "554 5.7.1 we do not like you"
        error = refusal(target(mail.url))
    assert "554" in str(error)
    assert "we do not like you" in str(error)
    assert error.recoverable


def test_a_yes_that_means_no_is_a_failure(lookalike: HttpInbox) -> None:
    """Slack answers 200 with a body other than `ok`; the plugin sees it, and the body is told."""
    lookalike.default = Answer(body=b"invalid_payload")
    assert str(refusal(target(SLACK))) == "Failed to send to Slack: error=200; HTTP 200 OK: invalid_payload"


@pytest.mark.parametrize("body", ["{raw}", "you sent {encoded}", '{{"password": "{raw}"}}', "Basic {basic}"])
def test_a_server_that_echoes_secrets_does_not_get_them_printed(inbox: HttpInbox, body: str) -> None:
    """Whatever form it chooses; also in the log at the lowest level, Apprise's and urllib3's."""
    library()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    noisy = [logging.getLogger(name) for name in ("", "urllib3", "urllib3.connectionpool")]
    for logger in noisy:
        logger.setLevel(1)
    listeners = [*noisy, logging.getLogger("apprise")]
    for logger in listeners:
        logger.addHandler(handler)
    raw, encoded, basic = "p@ss#%w:/rd", "p%40ss%23%25w%3A%2Frd", "Ym9iOnBAc3MjJXc6L3Jk"
    inbox.default = Answer(500, body=body.format(raw=raw, encoded=encoded, basic=basic).encode())
    try:
        where = f"json://bob:{encoded}@127.0.0.1:{inbox.port}/hook-secret?+Authorization-2=header-secret"
        error = refusal(target(where))
    finally:
        for logger in listeners:
            logger.removeHandler(handler)
        for logger in noisy:
            logger.setLevel(logging.NOTSET if logger.name != "root" else logging.WARNING)
    said = f"{error} {error!r} {error.__cause__} {error.__context__} {stream.getvalue()}"
    assert "***" in str(error)
    for secret in (raw, encoded, basic, "hook-secret", "header-secret"):
        assert secret not in said


def test_the_built_in_channel_writes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """On the daemon's log."""
    letter = render.letter(notification(), Settings(), delivered=at(0).wall)
    LogSender().send(letter)
    (line,) = capsys.readouterr().out.splitlines()
    assert "[FIRING] apache-minimum apache" in line
    assert "9abc" in line
