"""Options to a plan, or to the option that is wrong and why."""

from __future__ import annotations

import pytest

from alertd.secretary.plan import ExecCheck, HttpCheck, OptionFault, Pace, TcpCheck, read_field, read_plan

BARE = {"service": "apache", "instance": "172.31.14.97", "check": "http://172.31.14.97:8080/"}


def test_what_is_left_out_has_the_contracts_defaults() -> None:
    """Every 10 s, a lease of 30 s, 3 s for a probe, two failures, one success."""
    plan = read_plan(BARE, {})
    assert plan.pace == Pace(every=10, ttl=30, timeout=3)
    assert (plan.failures, plan.successes) == (2, 1)
    assert plan.check == HttpCheck("172.31.14.97", 8080, "/")
    assert plan.value() == b"{}"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("port=8080", ("port", 8080)),
        ("ipv4_addr=172.31.14.97", ("ipv4_addr", "172.31.14.97")),
        ("version=1.10", ("version", "1.10")),
        ("zip=01234", ("zip", "01234")),
        ("serial=12345678901234567890", ("serial", "12345678901234567890")),
        ("on=true", ("on", "true")),
        ("note=a=b", ("note", "a=b")),
        ("empty=", ("empty", "")),
    ],
)
def test_only_whole_numbers_are_numbers(text: str, field: tuple[str, str | int]) -> None:
    """All else is text as given, so that nothing is lost on the way."""
    assert read_field(text) == field


def test_the_value_is_json_with_what_is_announced() -> None:
    """Readable by plain etcdctl, also in Chinese."""
    plan = read_plan(BARE, {"host": "节点", "port": 8080})
    assert plan.value().decode() == '{"host":"节点","port":8080}'
    failing = plan.value(status="failing", reason="HTTP 503").decode()
    assert failing == '{"host":"节点","port":8080,"status":"failing","reason":"HTTP 503"}'


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("http://h/", HttpCheck("h", 80)),
        ("https://h", HttpCheck("h", 443, is_tls=True)),
        ("http://[::1]:81/a?b=c", HttpCheck("::1", 81, "/a?b=c")),
        ("http://h/ä b", HttpCheck("h", 80, "/%C3%A4%20b")),
        ("tcp://h:22", TcpCheck("h", 22)),
        ("tcp://[::1]:22", TcpCheck("::1", 22)),
        ("exec:/bin/check", ExecCheck(("/bin/check",))),
        ("exec: check  -H 'core 01' \"$HOME\" *", ExecCheck(("check", "-H", "core 01", "$HOME", "*"))),
        ("exec:sh -c 'exit 1 # | no comment'", ExecCheck(("sh", "-c", "exit 1 # | no comment"))),
    ],
)
def test_checks_are_read(text: str, check: object) -> None:
    """The four schemes, with their own ports; a command is split into words as a shell does, and no shell reads it."""
    assert read_plan({**BARE, "check": text}, {}).check == check


def test_expected_statuses_are_a_list_of_ranges() -> None:
    """One, several, and ranges."""
    check = read_plan({**BARE, "expect-status": "200, 300-302"}, {}).check
    assert isinstance(check, HttpCheck)
    assert check.statuses == {200, 300, 301, 302}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"service": ""}, "--service is missing"),
        ({"service": "a/b"}, "--service 'a/b' contains a slash"),
        ({"check": "exec:"}, "--check names no command, such as exec:/usr/"),
        ({"check": "exec:  "}, "--check names no command"),
        ({"check": "exec:'' x"}, "--check names no command"),
        ({"check": "exec:sh -c 'exit 1"}, "--check cannot be split into words: no closing quotation"),
        ({"check": "exec:a\0b"}, "--check holds a NUL"),
        ({"check": "exec:\udcff"}, "--check holds what is not text in UTF-8"),
        ({"check": "exec:true", "expect-status": "200"}, "--expect-status goes with http:// and https:// only"),
        ({"check": "exec:true", "expect-body": "ok"}, "--expect-body goes with http:// and https:// only"),
        ({"instance": "\udcff"}, "--instance holds what is not text in UTF-8"),
        ({"check": "ftp://h"}, "--check 'ftp://h' is none of"),
        ({"check": "tcp://h"}, "is not tcp://host:port"),
        ({"check": "http://:80/"}, "names no host"),
        ({"check": "http://h:99999/"}, "--check is not a URL: port out of range"),
        ({"check": "tcp://h:1", "expect-body": "ok"}, "--expect-body goes with http:// and https:// only"),
        ({"expect-status": "99"}, "--expect-status must be HTTP statuses"),
        ({"every": "10"}, "--every must be a duration with its unit"),
        ({"every": "0s"}, "--every must be longer than 0s"),
        ({"ttl": "1s"}, "--ttl must be whole seconds and at least 2s, the least that etcd grants"),
        ({"ttl": "2500ms"}, "--ttl must be whole seconds"),
        ({"failures": "0"}, "--failures must be a whole number"),
        ({"successes": "two"}, "--successes must be a whole number"),
        ({"every": "27s"}, "--ttl of 30s is too short: --every 27s and --timeout 3s together must be less"),
    ],
)
def test_what_cannot_work_is_refused_with_its_option_and_the_reason(options: dict[str, str], message: str) -> None:
    """Before the first probe, not in the middle of the night."""
    with pytest.raises(OptionFault) as fault:
        read_plan({**BARE, **options}, {})
    assert message in str(fault.value)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    """It would show in the process list, and in every message."""
    with pytest.raises(OptionFault) as fault:
        read_plan({**BARE, "check": "http://user:geheim@h/"}, {})
    assert "geheim" not in str(fault.value)


def test_a_checks_data_lies_over_the_fields_and_under_what_is_announced() -> None:
    """Also while it fails, with what was known last."""
    plan = read_plan(BARE, {"host": "core01", "load": "unknown"})
    assert plan.value({"load": 0.5, "a": [None]}).decode() == '{"host":"core01","load":0.5,"a":[null]}'
    assert plan.value({"a": 1}, status="stopped").decode().endswith('"load":"unknown","a":1,"status":"stopped"}')


def test_a_field_that_etcd_could_not_hold_is_refused() -> None:
    """Bytes on the command line that are no text, at any depth of a file's fields."""
    with pytest.raises(OptionFault, match="--set holds what is not text"):
        read_plan(BARE, {"a": {"b": ["\udcff"]}})


def test_the_secretarys_own_fields_are_refused() -> None:
    """A `status` set by hand could make an instance fail for ever."""
    with pytest.raises(OptionFault, match="--set status=… is the secretary's own field"):
        read_plan(BARE, {"status": "failing"})
