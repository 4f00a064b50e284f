"""How targets are understood, and what is said of those that cannot be."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from alertd.config.schema import Channel, Ruleset, Target
from alertd.delivery import channel
from alertd.delivery.sender import library
from alertd.errors import ConfigError
from tests.delivery.examples import PLACE, dict_target, ruleset, target

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "p@ss#%w:/rd"


def messages(*targets: Target) -> list[str]:
    """Return what `verify` says of a channel `ops` with these targets."""
    return [str(problem) for problem in channel.verify(Ruleset(channels={"ops": Channel(targets=targets)}))]


def test_good_targets_have_no_problems() -> None:
    """URLs and the dict form, with the names that Apprise documents."""
    assert (
        messages(
            target("json://127.0.0.1:8080/hook?+Authorization=Bearer%20x&method=PUT"),
            target("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts"),
            dict_target(
                schema="mailto", host="mail.example", port="25", user="bob", password=PASSWORD, to="a@b.example"
            ),
            dict_target(schema="slack", token_a="T1JJ3T3L2", token_b="A1BRTD4JD", token_c="TIiajkdnlazkcOXrIdevi7FQ"),
        )
        == []
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (target("nosuch://a/b"), "target ops #1 nosuch: no service has the schema 'nosuch'"),
        (target("slack://x"), "target ops #1 slack: Apprise cannot use it: An invalid Slack"),
        (target("https://example.com/hook"), "for a webhook of your own write json:// or jsons://"),
        (target("json://h:99999/"), "target ops #1 json: its port is not within 1-65535"),
        (dict_target(schema="json", hos="h"), "its service knows no option `hos`; did you mean `host`?"),
        (dict_target(host="h"), "its `schema` is missing"),
        (dict_target(schema="nosuch"), "no service has the schema 'nosuch'"),
    ],
)
def test_what_apprise_cannot_use_is_an_error_at_its_place(wrong: Target, message: str) -> None:
    """With what Apprise logged, in one line."""
    (problem,) = messages(wrong)
    assert problem.startswith(f"{PLACE}: error: target ops #1")
    assert message in problem


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "Discord"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack"),
    ],
)
def test_an_address_as_the_provider_shows_it_will_do(url: str, service: str) -> None:
    """Copied from the provider's page; nothing of its path is shown."""
    assert messages(target(url)) == []
    seen = channel.describe("ops", 1, target(url))
    assert seen.service == service
    assert seen.address.startswith("https://***/***")


def test_what_may_be_a_piece_of_a_password_is_not_shown_as_host() -> None:
    """With an unquoted `@` Apprise takes what follows it for the host."""
    seen = channel.describe("ops", 1, target("json://bob:hun@ter#22@127.0.0.1/hook"))
    assert "ter" not in repr(seen)


def test_all_problems_are_told_at_once() -> None:
    """Each channel's, each target's."""
    rules = ruleset({"a": ("slack://x", "json://h"), "b": "nosuch://"})
    assert [problem.message.partition(":")[0] for problem in channel.verify(rules)] == [
        "target a #1 slack",
        "target b #1 nosuch",
    ]


def test_targets_whose_secret_is_not_set_are_skipped() -> None:
    """The unset variable was complained of when the rules were read; building such a target is an error."""
    unset = Target(place=PLACE)
    assert messages(unset) == []
    with pytest.raises(ConfigError, match="its secret is not set"):
        channel.build(unset, "ops #1")


def test_what_apprise_would_read_otherwise_than_meant_is_a_warning() -> None:
    """A password with `@` or `#` in a URL moves the host; a parameter that the service does not know does nothing."""
    doubt, other = messages(target("json://bob:p@ss#w@h/"), target("json://h/?+Auth=a&-x=b&:y=c&methud=PUT"))
    assert "warning: target ops #1 json: a user or password seems to hold `@` or `#`" in doubt
    assert "warning: target ops #2 json: its service knows no parameter `methud`" in other


def test_the_dict_form_needs_no_url_encoding() -> None:
    """What looks encoded is taken as it is, though Apprise decodes some arguments a second time."""
    arguments = dict_target(schema="mailto", host="127.0.0.1", user="a%40b", password="100%41", to="x@y.de")
    arguments = arguments.model_copy(update={"options": {**(arguments.options or {}), "from": SecretStr("a@b.de")}})
    plugin = channel._instantiate(arguments, "mail #1")
    assert (plugin.user, plugin.password) == ("a%40b", "100%41")


def test_a_description_shows_where_it_goes_and_no_secret() -> None:
    """Host, port and limits are there; the rest of the address is masked."""
    seen = channel.describe("ops", 1, target("json://bob:hunter22@127.0.0.1:8080/secretpath?+Authorization=tok3n"))
    assert (seen.service, seen.schema, seen.host, seen.port) == ("JSON", "json", "127.0.0.1", 8080)
    assert seen.address == "json://***@127.0.0.1:8080/***?method=POST&+Authorization=***"
    assert (seen.title_limit, seen.body_limit) == (250, 32768)


AWKWARD = [
    (target("json://bob:p%40ss%23%25w%3A%2Frd@h:99999/hookpath?+Authorization=s3cr3t-token"), ["p@ss", "p%40ss"]),
    (target("json://bob:p@ss#%w:/rd@127.0.0.1/hookpath"), ["ss#", "w:/rd", "hookpath"]),
    (target("slack://T1JJ3T3L2/A1BRTD4JD/short-secret"), ["T1JJ3T3L2", "A1BRTD4JD", "short-secret"]),
    (target("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/nonsense"), ["T1JJ3T3L2", "nonsense"]),
    (target("discord://4174216298"), ["4174216298"]),
    (target("https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5"), ["4174216298", "JHMHI8qBe7bk2ZwO5"]),
    (target("tgram://bad-token-here"), ["bad-token-here"]),
    (dict_target(schema="mailto", host="h", user="bob", password="p@ss#%w:/rd", nope="also-secret"), ["p@ss", "also-"]),
]


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """Log all that any library says, at the lowest level, with a handler on the root and on Apprise's own logger."""
    library()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    loggers = [logging.getLogger(name) for name in ("", "apprise", "urllib3", "urllib3.connectionpool")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
    for name in ("", "urllib3", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(1)
    yield stream
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.mark.parametrize(("awkward", "secrets"), AWKWARD)
def test_no_secret_in_problems_descriptions_reprs_or_logs(
    awkward: Target, secrets: list[str], everything_logged: io.StringIO
) -> None:
    """Whether Apprise takes the target or not, and whoever listens to its log at whatever level."""
    said = [*messages(awkward), repr(awkward)]
    try:
        said += [repr(channel.describe("ops", 1, awkward)), repr(channel.build(awkward, "ops #1"))]
    except ConfigError as error:
        said += [str(error), repr(error.problems)]
    text = "\n".join(said)
    for secret in secrets:
        assert secret not in text
    for line in everything_logged.getvalue().splitlines():
        assert "hunter" not in line
