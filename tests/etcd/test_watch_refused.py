"""The watch when etcd refuses it, or the way there is bad: it works once that is mended, and is said once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from alertd.etcd.channel import EtcdSettings
from tests.etcd.following import PREFIX, agree, following, run, until
from tests.etcd.test_watch_faults import EXPIRE, MISSED, change, key, seed
from tests.etcd_server import HOST, Cut, EtcdServer


def test_authentication_switched_on_live_with_a_permission_for_the_prefix_alone(etcd: EtcdServer) -> None:
    """The running stream goes on; after a restart, which forgets all tokens, the watch logs in by itself."""
    etcd.ctl("user", "add", "root:secret")
    etcd.ctl("user", "grant-role", "root", "root")
    etcd.ctl("user", "add", "alertd:secret")
    etcd.ctl("role", "add", "services")
    etcd.ctl("role", "grant-permission", "services", "--prefix=true", "read", PREFIX.decode())
    etcd.ctl("user", "grant-role", "alertd", "services")
    login = EtcdSettings((etcd.endpoint,), user="alertd", password="secret", timeout=1.0)

    async def story() -> None:
        async with following(login=login) as (client, follower):
            await until(lambda: follower.watch.is_connected)
            etcd.ctl("auth", "enable")
            etcd.ctl_flags = ("--user", "root:secret")
            seed(etcd)
            await agree(client, follower)
            etcd.restart()
            change(etcd)
            await agree(client, follower)
            lease = int(etcd.ctl("lease", "grant", "60").split()[1], 16)
            etcd.ctl("put", key("e").decode(), "1", f"--lease={lease:x}")
            etcd.ctl("lease", "revoke", f"{lease:x}")
            await until(lambda: len(follower.told(key("e"))) == 3)
            assert follower.told(key("e"))[2] in {EXPIRE, MISSED}
            assert follower.watch.counters.listings == 1

    run(story())


def test_without_permission_it_is_said_once_and_mended_by_a_grant(
    etcd: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator grants the role, and the watch begins by itself."""
    etcd.ctl("user", "add", "root:secret")
    etcd.ctl("user", "grant-role", "root", "root")
    etcd.ctl("user", "add", "alertd:secret")
    etcd.ctl("auth", "enable")
    etcd.ctl_flags = ("--user", "root:secret")
    login = EtcdSettings((etcd.endpoint,), user="alertd", password="secret", timeout=1.0)

    async def story() -> None:
        async def grant() -> None:
            await until(lambda: caplog.messages)
            etcd.ctl("user", "grant-role", "alertd", "root")

        granting = asyncio.create_task(grant())
        async with following(login=login) as (client, follower):
            await granting
            await client.put(key("a"), b"1")
            await agree(client, follower)

    run(story())
    assert "does not permit user alertd to read keys from /services/ on" in caplog.messages[0]
    assert "secret" not in caplog.text


def test_a_wrong_port_is_said_once(shared_etcd: EtcdServer, caplog: pytest.LogCaptureFixture) -> None:
    """With a right one beside it, the watch works all the same."""

    async def story() -> None:
        async with following(f"{HOST}:{shared_etcd.health_port}", shared_etcd.endpoint) as (client, follower):
            await until(lambda: follower.watch.is_connected)
            await client.put(key("wrong-port"), b"1")
            await agree(client, follower)

    run(story())
    assert len(caplog.messages) <= 1


def test_a_stream_that_breaks_at_once_every_time_is_one_trouble(
    shared_etcd: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and not that it is over as long as no stream lasts."""

    async def story() -> None:
        with Cut(shared_etcd.endpoint) as cut:
            async with following(cut.endpoint) as (client, follower):
                for streams in range(1, 8):
                    await until(lambda least=streams: follower.watch.counters.streams >= least)  # type: ignore[misc]  # bound at once
                    cut.cut()
                    await until(lambda: not follower.watch.is_connected)
                    cut.mend()
                await agree(client, follower)
                await until(lambda: len(caplog.messages) == 2)

    with caplog.at_level(logging.INFO):
        run(story())
    assert "the watch on etcd does not work" in caplog.messages[0]
    assert "no more, after" in caplog.messages[1]
