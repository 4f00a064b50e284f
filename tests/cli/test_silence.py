"""`alertd silence`, `ack`, `unack` and `forget`: an etcd with documents in it, no daemon.

There are many commands here, so the command line runs in this process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alertd import document
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client
from tests.cli.inside import alertd, begin_with
from tests.etcd_server import EtcdServer

OLD = {"match": {"service": "old"}, "until": "2020-01-01T00:00:00.000Z"}


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give one server to all tests here; each begins with the same documents."""
    with EtcdServer(tmp_path_factory.mktemp("etcd")) as server:
        yield server


def alert(alert_id: str, **members: Any) -> tuple[str, str]:
    """Return an alert's key and document."""
    content = {"id": alert_id, "state": "firing", "severity": "warning", "labels": {"team": "web"}, **members}
    content["since"] = "2026-01-01T00:00:00.000Z"
    return f"/alertd/alerts/{alert_id}", document.encode(content).decode()


SCENE = {
    "/services/apache/a": '{"status": "failing"}',
    "/services/apache/b": "",
    "/services/支付/x": "",
    "/alertd/leader": '{"format": 1, "replica": "r1"}',
    **dict(
        (
            alert("573c199ba2e5", rule="lost", service="apache", instance="a", notifications=["8f7e9bac01e4"]),
            alert("fa350b2f2f53", rule="few", service="apache", severity="critical", notifications=["8f7e9bac01e4"]),
            alert("0123456789ab", rule="few", service="支付", state="pending"),
        )
    ),
}
"""Two services, of which instances and alerts are known, and somebody who leads."""


@pytest.fixture(autouse=True)
def _scene(etcd: EtcdServer) -> None:
    """Begin with nothing but the scene."""
    begin_with(etcd, SCENE)


def said(etcd: EtcdServer, folder: str) -> dict[str, dict[str, Any]]:
    """Return the documents in one of alertd's folders, by name; what is none counts as empty."""

    async def read() -> dict[str, dict[str, Any]]:
        async with Client(EtcdSettings((etcd.endpoint,))) as client:
            pages = client.list_prefix(f"/alertd/{folder}/".encode())
            kvs = [kv async for page in pages for kv in page.kvs]
        return {kv.key.decode().rpartition("/")[2]: document.read(kv.value).content or {} for kv in kvs}

    return asyncio.run(read())


def lease_of(etcd: EtcdServer, key: str) -> int:
    """Return how many seconds the lease of a key was granted."""
    (kv,) = json.loads(etcd.ctl("get", key, "-w", "json"))["kvs"]
    return int(json.loads(etcd.ctl("lease", "timetolive", f"{kv['lease']:x}", "-w", "json"))["granted-ttl"])


# --- silence add -----------------------------------------------------------------------------------------------------


def test_a_silence_is_kept_with_who_and_why_and_tells_what_it_mutes(etcd: EtcdServer) -> None:
    """Its id, the alerts, the end; its lease lies an hour behind the end."""
    done = alertd(etcd, "silence", "add", "apache", "--for", "2h", "--comment", "new racks: 机架")
    ((name, kept),) = said(etcd, "silences").items()
    first, *mutes, end = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert first == f"silence {name}  service=apache"
    assert mutes == ["mutes 2 alerts now:", "  lost apache/a", "  few apache"]
    assert end.startswith("ends ")
    assert end.endswith(" UTC, in 2h")
    assert kept["match"] == {"service": "apache"}
    assert (kept["comment"], kept["author"].split("@")[0]) == ("new racks: 机架", "ann")
    until, at = document.moment(kept["until"]), document.moment(kept["at"])
    assert until is not None
    assert at is not None
    assert (until - at).total_seconds() == 7200
    assert lease_of(etcd, f"/alertd/silences/{name}") == 3 * 3600


@pytest.mark.parametrize(
    ("arguments", "matches", "mutes"),
    [
        (["apache/a"], [{"service": "apache", "instance": "a"}], [["573c199ba2e5"]]),
        (["573c19"], [{"rule": "lost", "service": "apache", "instance": "a"}], [["573c199ba2e5"]]),
        (
            ["8f7e9bac01e4"],
            [
                {"rule": "few", "service": "apache"},
                {"rule": "lost", "service": "apache", "instance": "a"},
            ],
            [["fa350b2f2f53"], ["573c199ba2e5"]],
        ),
        (["--match", "severity=critical"], [{"severity": "critical"}], [["fa350b2f2f53"]]),
        (["*", "--match", "rule=lost"], [{"service": "*", "rule": "lost"}], [["573c199ba2e5"]]),
        (["支付"], [{"service": "支付"}], [["0123456789ab"]]),
        (["--match", "team!=lab"], [{"not": {"team": "lab"}}], [["573c199ba2e5", "fa350b2f2f53", "0123456789ab"]]),
    ],
)
def test_each_way_to_say_what_is_meant(
    etcd: EtcdServer, arguments: list[str], matches: list[dict[str, str]], mutes: list[list[str]]
) -> None:
    """A service, an instance, an alert, a notification (all its alerts, and no others), matches; as JSON."""
    done = alertd(etcd, "silence", "add", *arguments, "--for", "1h", "--until-resolved", "--json", ALERTD_AUTHOR="bob")
    made = json.loads(done.stdout)
    assert [each["match"] for each in made] == matches
    assert [sorted(each["mutes"]) for each in made] == [sorted(ids) for ids in mutes]
    assert {(each["until_resolved"], each["author"]) for each in made} == {(True, "bob")}
    assert sorted(said(etcd, "silences")) == sorted(each["id"] for each in made)


def test_a_silence_that_mutes_nothing_now_says_so(etcd: EtcdServer) -> None:
    """And warns if nothing is known that it could mute."""
    quiet = alertd(etcd, "silence", "add", "apache/b", "--for", "1h")
    assert "mutes nothing now; would mute what befalls apache/b" in quiet.stdout
    assert quiet.stderr == ""
    unknown = alertd(etcd, "silence", "add", "nosuch", "--for", "1h")
    assert unknown.returncode == 0
    assert "mutes nothing now" in unknown.stdout
    assert unknown.stderr == "alertd: warning: it matches nothing that is known now\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--for", "1h"], 2, "a silence of everything is refused"),
        (["apache"], 2, "--for"),
        (["apache", "--for", "60"], 2, "--for must be a duration with its unit"),
        (["apache", "--for", "0s"], 2, "--for must be longer than 0s"),
        (["apache", "--for", "9999d"], 2, "--for must be at most 3650d"),
        (["apache/", "--for", "1h"], 2, "is no target"),
        (["apache", "--match", "service=pay", "--for", "1h"], 2, "which service is meant"),
        (["--match", "severity=critcal", "--for", "1h"], 2, "there are info, warning, critical"),
        (["--match", "team", "--for", "1h"], 2, "give name=pattern"),
        (["ffffffffffff", "--for", "1h"], 1, "has an id that begins with ffffffffffff"),
    ],
)
def test_what_is_no_silence_is_refused(etcd: EtcdServer, arguments: list[str], code: int, says: str) -> None:
    """With the cure, and nothing is written."""
    done = alertd(etcd, "silence", "add", *arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert said(etcd, "silences") == {}


# --- silence list and expire -----------------------------------------------------------------------------------------


def put_silences(etcd: EtcdServer) -> None:
    """One that holds, one that is over, one of tomorrow's, and junk."""
    good = {"match": {"service": "支付"}, "until": "2036-01-01T00:00:00.000Z", "author": "安娜", "comment": "x" * 200}
    for name, content in {"aaaa1111": good, "aaaa2222": OLD}.items():
        etcd.ctl("put", f"/alertd/silences/{name}", document.encode(content).decode())
    etcd.ctl("put", "/alertd/silences/bbbb", '{"format": 2}')
    etcd.ctl("put", "/alertd/silences/cccc", "junk")


def test_silences_are_listed_for_people(etcd: EtcdServer) -> None:
    """Within 80 columns; what does not hold is said, not shown."""
    assert alertd(etcd, "silence", "list").stdout == "no silences\n"
    put_silences(etcd)
    done = alertd(etcd, "silence", "list")
    head, row, who = done.stdout.splitlines()
    assert head.split() == ["ID", "ENDS", "MATCHES"]
    assert row.split()[:3] == ["aaaa1111", "2036-01-01", "00:00"]
    assert row.endswith("service=支付")
    assert who.split()[0] == "安娜:"
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stderr.splitlines() == [
        "alertd: silence bbbb does not hold: a newer alertd has written it; update this one",
        "alertd: silence cccc does not hold: it is no JSON object with a `format`",
    ]


def test_silences_are_listed_as_json(etcd: EtcdServer) -> None:
    """An array; with --all those that are over, too."""
    put_silences(etcd)
    (only,) = json.loads(alertd(etcd, "silence", "list", "--json").stdout)
    assert list(only) == ["id", "match", "until", "until_resolved", "author", "comment", "at", "state"]
    assert (only["id"], only["state"], only["at"]) == ("aaaa1111", "active", None)
    both = json.loads(alertd(etcd, "silence", "list", "--all", "--json").stdout)
    assert [(each["id"], each["state"]) for each in both] == [("aaaa2222", "ended"), ("aaaa1111", "active")]


def test_silences_are_ended_by_the_beginnings_of_their_ids(etcd: EtcdServer) -> None:
    """Several at once, even one that nobody understands; what is not clear ends none."""
    put_silences(etcd)
    unclear = alertd(etcd, "silence", "expire", "bbbb", "aaaa")
    assert (unclear.returncode, len(said(etcd, "silences"))) == (2, 4)
    assert "the beginning of 2 silences" in unclear.stderr
    unknown = alertd(etcd, "silence", "expire", "ffff")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
    done = alertd(etcd, "silence", "expire", "aaaa1", "cccc")
    assert done.stdout == "silence aaaa1111 has ended\nsilence cccc has ended\n"
    assert sorted(said(etcd, "silences")) == ["aaaa2222", "bbbb"]


# --- ack and unack ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "ids"),
    [
        ("apache", ["573c199ba2e5", "fa350b2f2f53"]),
        ("apache/a", ["573c199ba2e5"]),
        ("fa35", ["fa350b2f2f53"]),
        ("8f7e9bac", ["573c199ba2e5", "fa350b2f2f53"]),
    ],
)
def test_all_that_fires_on_a_target_is_taken_on_and_given_back(etcd: EtcdServer, target: str, ids: list[str]) -> None:
    """Each alert by a document with its own `since`; for eight hours unless said otherwise."""
    done = alertd(etcd, "ack", target, "--comment", "on it", "--author", "ann")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, len(ids))
    assert done.stdout.startswith("acknowledged: ")
    acks = said(etcd, "acks")
    assert sorted(acks) == sorted(ids)
    for each in acks.values():
        assert (each["by"], each["comment"], each["since"]) == ("ann", "on it", "2026-01-01T00:00:00.000Z")
    assert lease_of(etcd, f"/alertd/acks/{ids[0]}") == 9 * 3600
    given = alertd(etcd, "unack", target)
    assert (given.returncode, len(given.stdout.splitlines()), said(etcd, "acks")) == (0, len(ids), {})
    assert alertd(etcd, "unack", target).returncode == 1


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("apache/b", "nothing fires on apache/b"),
        ("支付", "nothing fires on 支付"),
        ("0123456789ab", "nothing fires on 0123456789ab"),
        ("nosuch", "no alert on nosuch, nor is it registered"),
        ("ffffffffffff", "has an id that begins with ffffffffffff"),
    ],
)
def test_what_does_not_fire_cannot_be_taken_on(etcd: EtcdServer, target: str, says: str) -> None:
    """One line, exit 1."""
    done = alertd(etcd, "ack", target)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert says in done.stderr
    etcd.ctl("del", "/alertd/leader")
    if "id" not in says:
        assert "no daemon leads" in alertd(etcd, "ack", target).stderr


# --- forget ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "requests", "says"),
    [
        ("apache/gone", [("apache", "gone")], "apache/gone is to be forgotten\n"),
        ("支付", [("支付", None)], "all that is gone of 支付 is to be forgotten; what has a key in etcd stays (1)\n"),
        ("nosuch", [("nosuch", None)], "all that is gone of nosuch is to be forgotten\n"),
    ],
)
def test_a_request_to_forget(etcd: EtcdServer, target: str, requests: list[tuple[str, str | None]], says: str) -> None:
    """A document that is collected within the minute."""
    done = alertd(etcd, "forget", target, "--author", "ann")
    assert (done.returncode, done.stdout) == (0, says)
    kept = said(etcd, "forget")
    assert [(each["service"], each["instance"], each["by"]) for each in kept.values()] == [
        (*request, "ann") for request in requests
    ]
    assert lease_of(etcd, f"/alertd/forget/{next(iter(kept))}") == 60


@pytest.mark.parametrize(("target", "state"), [("apache/b", "up"), ("apache/a", "failing"), ("573c1", "failing")])
def test_what_is_there_cannot_be_forgotten(etcd: EtcdServer, target: str, state: str) -> None:
    """It says so, and asks for nothing."""
    done = alertd(etcd, "forget", target)
    assert (done.returncode, said(etcd, "forget")) == (1, {})
    assert f"is {state}, its key is in etcd" in done.stderr


def test_a_request_that_nobody_hears_says_so(etcd: EtcdServer) -> None:
    """It is collected before long."""
    etcd.ctl("del", "/alertd/leader")
    assert "no daemon leads now" in alertd(etcd, "forget", "apache/gone").stdout


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("silence", "add", "apache", "--for", "1h"),
        ("silence", "list"),
        ("silence", "expire", "aaaa"),
        ("ack", "apache"),
        ("unack", "apache"),
        ("forget", "apache"),
    ],
)
def test_etcd_away_is_exit_3(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """One line on stderr."""
    done = alertd(EtcdServer(tmp_path), *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "refuses the connection" in done.stderr
