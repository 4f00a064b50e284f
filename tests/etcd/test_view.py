"""What the watch remembers, and what listings and responses say against it. No etcd here."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from alertd.etcd.view import Comparison, Relisting, View, mend, slices, split_after, take
from alertd.etcd.wire import kv as messages
from alertd.model import EventKind

PUT, DELETE = messages.Event.PUT, messages.Event.DELETE


def kv(key: str, *, made: int = 1, changed: int = 0, lease: int = 0, value: str = "") -> Any:
    """Make a key as etcd lists it, made and changed at the revisions given."""
    return messages.KeyValue(
        key=key.encode(), value=value.encode(), create_revision=made, mod_revision=changed or made, lease=lease
    )


def event(kind: int, key: str, revision: int, lease: int = 0) -> Any:
    """Make an event as etcd sends it."""
    return messages.Event(type=kind, kv=kv(key, made=revision, lease=lease))


def view_of(**leases: int) -> View:
    """Make a view that knows these keys."""
    view = View()
    for key, lease in leases.items():
        view.put(key.encode(), lease)
    return view


def story(events: list[Any]) -> list[tuple[str, str]]:
    """Return kinds and keys alone."""
    return [(event.kind.value, event.key.decode()) for event in events]


# --- events ----------------------------------------------------------------------------------------------------------


def test_keys_are_remembered_with_their_leases() -> None:
    """A put is told with its value and lease, and remembered."""
    view = View()
    batch = take(view, [event(PUT, "a", 5, lease=7)])
    assert batch.events[0][:] == (EventKind.PUT, b"a", b"", 7, 5)
    assert (view.leases, view.is_holding(7), batch.doubtful) == ({b"a": 7}, True, [])


def test_a_key_without_a_lease_was_deleted() -> None:
    """Nobody needs to be asked."""
    view = view_of(a=0)
    assert take(view, [event(DELETE, "a", 5)]).doubtful == []
    assert len(view) == 0


def test_the_last_key_of_a_lease_is_doubtful() -> None:
    """It may have expired: etcd must be asked about its lease."""
    assert take(view_of(a=7), [event(DELETE, "a", 5)]).doubtful == [(0, 7)]


def test_a_key_outlived_by_another_of_its_lease_was_deleted() -> None:
    """All keys of a lease die together, so a survivor proves that the lease lives."""
    view = view_of(a=7, b=7)
    assert take(view, [event(DELETE, "a", 5)]).doubtful == []
    assert take(view, [event(DELETE, "b", 6)]).doubtful == [(0, 7)]


def test_keys_that_die_together_are_doubtful_together() -> None:
    """Within one revision none proves that the lease lives."""
    batch = take(view_of(a=7, b=7, c=8), [event(DELETE, "a", 5), event(DELETE, "c", 5), event(DELETE, "b", 5)])
    assert batch.doubtful == [(0, 7), (1, 8), (2, 7)]


def test_revisions_in_one_response_are_judged_apart() -> None:
    """A survivor at one revision counts though it dies at a later one of the same response."""
    batch = take(view_of(a=7, b=7), [event(DELETE, "a", 5), event(DELETE, "b", 6), event(PUT, "x", 7)])
    assert batch.doubtful == [(1, 7)]


def test_a_key_put_in_the_same_transaction_proves_its_lease() -> None:
    """A transaction that moves a lease from one key to another deletes the first."""
    assert take(view_of(a=7), [event(DELETE, "a", 5), event(PUT, "b", 5, lease=7)]).doubtful == []


def test_a_key_that_changed_its_lease_is_judged_by_the_new_one() -> None:
    """The old lease says nothing about it any more."""
    view = view_of(a=7, b=7)
    batch = take(view, [event(PUT, "a", 4, lease=8), event(DELETE, "a", 5), event(DELETE, "b", 6)])
    assert batch.doubtful == [(1, 8), (2, 7)]


def test_a_lease_let_go_is_forgotten() -> None:
    """A put without a lease leaves no trace of the old lease."""
    view = view_of(a=7, b=7, c=7)
    take(view, [event(PUT, key, 4) for key in "abc"])
    assert not view.is_holding(7)


# --- listings --------------------------------------------------------------------------------------------------------


def relist(view: View, cursor: int, revision: int, *listed: Any) -> list[tuple[str, str]]:
    """List once and return the story."""
    relisting = Relisting(view, cursor)
    relisting.begin(revision)
    return story(relisting.page(listed) + relisting.finish())


def test_the_first_listing_finds_everything() -> None:
    """Nothing is known yet, so all is found."""
    view = View()
    assert relist(view, 0, 9, kv("a", lease=3), kv("b")) == [("found", "a"), ("found", "b")]
    assert view.leases == {b"a": 3, b"b": 0}


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        pytest.param([kv("a", made=5)], [], id="unchanged"),
        pytest.param([kv("a", made=5, changed=10)], [], id="changed at the cursor, so known"),
        pytest.param([kv("a", made=5, changed=11)], [("found", "a")], id="changed"),
        pytest.param([kv("a", made=11)], [("missed", "a"), ("found", "a")], id="deleted and made again"),
        pytest.param([], [("missed", "a")], id="gone"),
        pytest.param([kv("a", made=5), kv("b", made=12)], [("found", "b")], id="another is new"),
        pytest.param([kv("a", made=5), kv("b", made=6)], [("found", "b")], id="another is old, yet unknown"),
    ],
)
def test_a_listing_after_a_gap_tells_what_changed(listed: list[Any], told: list[tuple[str, str]]) -> None:
    """The view was true at revision 10 and knew `a`."""
    assert relist(view_of(a=0), 10, 20, *listed) == told


def test_of_another_history_everything_is_told() -> None:
    """Revisions of another cluster prove nothing: the consumer compares values."""
    assert relist(view_of(a=0, b=0), 0, 5, kv("a", made=3), kv("c", made=4)) == [
        ("found", "a"),
        ("found", "c"),
        ("missed", "b"),
    ]


def test_a_listing_begun_again_does_not_invent_changes() -> None:
    """What the broken listing told is known at its revision; what it did not reach, at the cursor."""
    view = view_of(z=0)
    relisting = Relisting(view, 10)
    relisting.begin(20)
    assert story(relisting.page([kv("a", made=15), kv("b", made=15)])) == [("found", "a"), ("found", "b")]
    relisting.begin(30)
    again = relisting.page([kv("a", made=15), kv("b", made=25), kv("c", made=26), kv("z", made=2, changed=12)])
    assert story(again) == [("missed", "b"), ("found", "b"), ("found", "c"), ("found", "z")]
    assert relisting.finish() == []


def test_a_consumer_that_was_told_nothing_yet_is_told_all() -> None:
    """Keys that were known by name at revision 10; of what a first part told, the second repeats what changed."""
    view = view_of(a=0, b=0, c=0, d=0)
    relisting = Relisting(view, 10, tells_all=True)
    relisting.begin(10)
    assert story(relisting.page([kv("a", made=5), kv("b", made=5)])) == [("found", "a"), ("found", "b")]
    relisting.begin(20)
    listed = [kv("a", made=5), kv("b", made=5, changed=15), kv("c", made=5), kv("d", made=15), kv("e", made=16)]
    again = relisting.page(listed) + relisting.finish()
    assert story(again) == [("found", "b"), ("found", "c"), ("missed", "d"), ("found", "d"), ("found", "e")]


def test_what_a_broken_listing_showed_may_be_gone_from_the_next() -> None:
    """Found at first, missed at the end."""
    relisting = Relisting(View(), 0)
    relisting.begin(20)
    relisting.page([kv("a", made=15)])
    relisting.begin(30)
    assert story(relisting.page([]) + relisting.finish()) == [("missed", "a")]


# --- comparisons -----------------------------------------------------------------------------------------------------


def test_a_comparison_suspects_what_differs() -> None:
    """Unknown keys, keys not listed, and keys under another lease."""
    view = view_of(same=1, gone=2, moved=3)
    comparison = Comparison(view)
    comparison.page([kv("same", lease=1), kv("moved", lease=9), kv("new")])
    comparison.finish(20)
    assert sorted(comparison.suspects()) == [b"gone", b"moved", b"new"]


def test_a_comparison_knows_the_last_change() -> None:
    """Over all its pages; nothing that was listed has changed since."""
    comparison = Comparison(view_of(a=0, b=0))
    assert comparison.newest == 0
    comparison.page([kv("a", made=3), kv("b", made=2, changed=9)])
    comparison.page([kv("c", made=5)])
    comparison.page([])
    assert comparison.newest == 9


def test_what_the_stream_brings_is_no_longer_suspect() -> None:
    """The events that were under way explain the difference."""
    view = view_of(gone=2)
    comparison = Comparison(view)
    comparison.page([kv("new")])
    comparison.finish(20)
    take(view, [event(PUT, "new", 19), event(DELETE, "gone", 20)])
    assert comparison.suspects() == []


def test_mending_tells_only_true_differences() -> None:
    """A suspect that etcd holds as we do is no difference."""
    view = view_of(a=1, b=2)
    assert mend(view, b"a", kv("a", lease=1), 20) is None
    assert mend(view, b"x", None, 20) is None
    assert mend(view, b"b", None, 20) == (EventKind.MISSED, b"b", b"", 0, 20)
    assert mend(view, b"c", kv("c", made=18, lease=5, value="v"), 20) == (EventKind.FOUND, b"c", b"v", 5, 18)
    assert view.leases == {b"a": 1, b"c": 5}


# --- cutting ---------------------------------------------------------------------------------------------------------


def test_slices_never_cut_a_revision() -> None:
    """Nothing is lost or doubled, and each revision is whole in one slice."""
    revisions = [1] * 3 + [2] * 50 + [3, 4, 5, 6] + [7] * 9
    events = [event(PUT, str(number), revision) for number, revision in enumerate(revisions)]
    parts = list(slices(events, 4))
    assert [one.kv.key for part in parts for one in part] == [one.kv.key for one in events]
    homes = [{one.kv.mod_revision for one in part} for part in parts]
    assert len(parts) > 2
    assert not any(left & right for left, right in pairwise(homes))


def test_a_small_response_is_one_slice() -> None:
    """The common case copies nothing."""
    events = [event(PUT, "a", 1)]
    assert next(slices(events, 4)) is events
    assert list(slices([], 4)) == []


@pytest.mark.parametrize(("revision", "count"), [(0, 0), (1, 1), (2, 3), (3, 3), (4, 4), (9, 4)])
def test_a_response_is_split_after_a_revision(revision: int, count: int) -> None:
    """All that happened up to that revision comes first."""
    assert split_after([event(PUT, "a", at) for at in (1, 2, 2, 4)], revision) == count
