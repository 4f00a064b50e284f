"""What outlives an engine: a restart, or a standby that takes over, goes on exactly."""

from __future__ import annotations

from typing import Any

from alertd.config.schema import Channel, Settings
from alertd.model import AlertState, EventKind, Kind
from tests.engine.relay import Relay
from tests.engine.story import default_route, instant, route, rule, seconds

TWO: dict[str, Any] = {"channels": {"ops": Channel(), "mail": Channel()}}
STORMY = Settings.model_validate({"flap": False, "storm": {"above": 3, "within": "30s"}})
FLAP = {"changes": 4, "within": "60s", "settle": "30s"}


def test_what_was_told_is_not_told_again_and_resolves_once() -> None:
    """A restart while an alert fires is not seen; its end is told where its beginning was, with both times."""
    story = Relay(rule(), up=("apache/a", "apache/b")).at(10).expire("apache/a").at(20).restart().at(30)
    story.up("apache/a").at(40)
    assert story.told == ["10 firing r apache/a", "30 resolved r apache/a"]
    alert = story.notifications[-1].entries[0].alert
    assert alert.since is not None
    assert alert.until is not None
    assert (seconds(alert.since), seconds(alert.until)) == (10, 30)


def test_what_ended_while_nobody_watched_is_told_once() -> None:
    """The end is told when somebody watches again, and says between which times it was."""
    story = Relay(rule(), up=("apache/a", "apache/b")).at(10).expire("apache/a").leave().at(50).up("apache/a")
    story.at(60).come_back().at(70)
    assert story.told == ["10 firing r apache/a", "60 resolved r apache/a"]
    assert story.notifications[-1].entries[0].alert.between == instant(10)


def test_what_began_while_nobody_watched_is_told_with_its_cause() -> None:
    """History tells how it went; where that is lost, it is found gone."""
    away = Relay(rule(), up=("apache/a", "apache/b")).at(10).leave().at(50).expire("apache/a").at(60)
    assert away.come_back().told == ["60 firing r apache/a"]
    assert away.transitions[-1] == "60 apache/a down expired"
    lost = Relay(rule(), up=("apache/a", "apache/b")).at(10).leave().at(50).expire("apache/a").at(60)
    assert lost.come_back(lost_history=True).told == ["60 firing r apache/a"]
    assert lost.transitions[-1] == "60 apache/a down missed"


def test_what_fired_and_ended_while_nobody_watched_is_told_as_over() -> None:
    """One message with both ends."""
    story = Relay(rule(), up=("apache/a",), group_wait="5s").at(10).leave().at(50).expire("apache/a").up("apache/a")
    story.at(60).come_back().at(70)
    assert story.told == ["65 resolved r apache/a"]


def test_what_waited_to_be_told_is_told() -> None:
    """An alert that fired within `group_wait` of the end is told after the restart; so is one that ended by then."""
    story = Relay(rule(), up=("apache/a", "pay/a"), group_wait="5s").at(10).expire("apache/a").at(12).restart().at(20)
    assert story.told == ["15 firing r apache/a"]
    over = Relay(rule(), up=("apache/a",), group_wait="5s").at(10).expire("apache/a").at(11).up("apache/a").restart()
    assert over.at(20).told == ["16 resolved r apache/a"]


def test_hold_times_survive_as_wall_time() -> None:
    """`for` goes on where it was, and so does `keep_firing_for`; the time between counts."""
    held = Relay(rule(for_="30s"), up=("apache/a",)).at(10).expire("apache/a").at(20).leave().at(35).come_back().at(60)
    assert held.told == ["40 firing r apache/a"]
    kept = Relay(rule(keep_firing_for="60s"), up=("apache/a",)).at(10).expire("apache/a").at(20).up("apache/a")
    assert kept.at(30).restart().at(100).told == ["10 firing r apache/a", "80 resolved r apache/a"]


def test_flapping_survives() -> None:
    """What counts towards a flap, that it flaps, and when it settles."""
    story = Relay(rule(flap=FLAP), up=("apache/a",)).at(10).expire("apache/a").at(12).up("apache/a").at(14)
    story.expire("apache/a").restart().at(16).up("apache/a")
    assert story.told[-1] == "16 flapping r apache/a"
    story.at(20).expire("apache/a").restart().at(100)
    assert story.told[-1] == "50 settled r apache/a"
    assert story.notifications[-1].entries[0].alert.state is AlertState.FIRING


def test_what_is_replayed_makes_no_flap() -> None:
    """Six changes while nobody watched are no flapping."""
    story = Relay(rule(flap=FLAP), up=("apache/a",)).at(10).leave()
    for _ in range(3):
        story.expire("apache/a").up("apache/a")
    assert story.at(20).come_back().at(30).told == ["20 resolved r apache/a"]


def test_the_lost_are_known_with_their_causes_and_fields() -> None:
    """What etcd no longer has is remembered: why an instance is down, since when, and what it said of itself."""
    story = Relay(rule(when={"instances": {"below": 2}}), rule("w", where={"rack": "r7"}), up=("apache/a", "apache/b"))
    story.put("apache/c", rack="r7").at(10).delete("apache/c").at(20).restart().at(30).expire("apache/a")
    facts = next(service for service in story.engine.services() if service.name == "apache")
    lost = {each.name: (str(each.cause), seconds(each.since)) for each in facts.instances if not each.up}
    assert lost == {"c": ("deleted", 10), "a": ("expired", 30)}
    assert story.told == ["10 firing w apache/c", "30 firing r apache"]


def test_what_rules_and_routes_go_by_is_known_of_what_is_found_gone() -> None:
    """History is lost, and with it the last values: those fields are remembered that rules and routes name."""
    eu = route(match={"zone.name": "eu"}, channels=("ops",), group_by=("rule", "rack"))
    fields: dict[str, Any] = {"routes": (eu, default_route(channels=("mail",))), **TWO}
    thin = rule("thin", when={"instances": {"below": 1, "per": "zone.name"}})
    story = Relay(rule(where={"ver": "1.10"}), thin, up=("apache/b",), **fields).put("apache/a", ver=1.1).at(10)
    story.put("apache/a", ver="1.10", zone={"name": "eu"}, rack="r7", load=3).at(20).leave().at(30)
    told = story.delete("apache/a").at(40).come_back(lost_history=True).at(50).told
    assert told == ["40 firing r apache/a to ops", "40 firing thin apache (zone.name=eu) to ops"]
    assert story.notifications[0].labels == {"rule": "r", "rack": "r7"}


def test_only_fields_that_something_goes_by_are_remembered_anew() -> None:
    """A value that is refreshed all the time costs no writing, unless rules or routes name what changes in it."""
    story = Relay(rule(where={"host": "core*"}), up=("apache/b",)).put("apache/a", host="core01", load=1).at(10)
    assert story.engine.take_touched() == ["apache"]
    story.put("apache/a", host="core01", load=2)
    assert story.engine.take_touched() == []
    story.put("apache/a", host="core02", load=2)
    assert story.engine.take_touched() == ["apache"]
    story.reload(rule()).reload(rule(where={"load": "2"}))
    assert story.engine.take_touched() == ["apache"]


def test_a_new_instance_is_told_of_once_whatever_restarts() -> None:
    """`instance: up` is told of what registered before, during or after a restart, each once."""
    story = Relay(rule(when={"instance": "up"}), up=("apache/a",), group_wait="5s").at(10).up("apache/b").at(12)
    story.restart().at(30).leave().at(40).up("apache/c").at(50).come_back().at(60).restart().at(70).up("apache/d")
    assert story.at(80).told == ["15 firing r apache/b", "55 firing r apache/c", "75 firing r apache/d"]


def test_a_rule_that_is_gone_after_a_restart_resolves_what_it_told() -> None:
    """The message still says which rule that was, and how bad."""
    story = Relay(rule(severity="critical"), up=("apache/a",)).at(10).expire("apache/a")
    story.restart(rule("other", service="pay")).at(20)
    assert story.told == ["10 firing r apache/a", "10 resolved r apache/a"]
    entry = story.notifications[1].entries[0]
    assert (entry.alert.rule.name, entry.alert.rule.severity) == ("r", "critical")
    assert story.at(900).books == {}


def test_a_rule_that_is_gone_twice_ends_what_only_flapped_under_two_ids() -> None:
    """It has fired never, so no count of firings tells the two apart."""
    flapping, other = rule(for_="50s", flap=FLAP), rule("other", service="pay")
    story = Relay(flapping, up=("apache/a",), has_standby=True, group_wait="5s")
    for begun in (10, 500):
        story.at(begun).reload(flapping, group_wait="5s")
        for second in range(begun, begun + 4, 2):
            story.at(second).expire("apache/a").at(second + 1).up("apache/a")
        story.at(begun + 12).reload(other, group_wait="5s").fail_over().at(begun + 20)
    assert [line.split()[1] for line in story.told] == ["flapping", "resolved"] * 2
    assert len({each.id for each in story.notifications}) == 4


def test_what_flapped_under_a_rule_that_is_gone_flaps_no_more() -> None:
    """It only owes its end, whatever rule has its name now; nothing of it comes between the next on the same target."""
    times: dict[str, Any] = {"for_": "10s", "flap": FLAP}
    below, other = rule(when={"instances": {"below": 1}}, **times), rule(**times)
    story = Relay(below, up=("apache/a",), has_standby=True, group_wait="5s")
    for second in (10, 12):
        story.at(second).expire("apache/a").at(second + 1).up("apache/a")
    story.at(20).reload(other, group_wait="5s").fail_over().reload(below, group_wait="5s").at(21).expire("apache/a")
    assert story.at(80).told[-1] == "36 firing r apache"
    assert [alert.state for alert in story.engine.alerts()] == [AlertState.FIRING]


def test_a_rule_of_another_kind_after_a_restart_does_not_go_on() -> None:
    """What was told by the rule as it was is over; the rule as it is fires when its own condition holds."""
    below: dict[str, Any] = {"instances": {"below": 2}}
    for other in (
        {"instance": "down"},
        {"instances": {"below": 1, "per": "zone"}},
        {"distinct": {"field": "zone", "above": 1}},
    ):
        story = Relay(rule(when=below), up=("apache/a", "apache/b")).at(10).expire("apache/a").leave().up("apache/a")
        story.come_back(rule(when=other)).at(90_000)
        assert story.told == ["10 firing r apache", "10 resolved r apache"]
        assert list(story.engine.alerts()) == []


def test_a_rule_that_is_gone_resolves_what_it_told_of_an_odd_name() -> None:
    """Keys may name a service as no rule could."""
    story = Relay(rule(service="*"), up=("pay\u200d /a",)).at(10).expire("pay\u200d /a")
    story.restart(rule("other", service="x")).at(20)
    assert [str(sent.kind) for sent in story.notifications] == ["firing", "resolved"]


def test_what_ends_while_nobody_speaks_is_told_by_who_spoke_last() -> None:
    """However long that is: there is nobody else who could have told it."""
    story = Relay(rule(keep_firing_for="60s"), up=("apache/a", "apache/b")).at(10).expire("apache/a").at(20)
    story.up("apache/a").at(30).fall_silent().at(900).speak_again().at(910)
    assert story.told == ["10 firing r apache/a", "900 resolved r apache/a"]
    assert story.at(2000).books == {}


def test_what_fires_and_ends_while_nobody_speaks_is_told_by_who_spoke_last() -> None:
    """Also where revisions begin anew meanwhile, and the group has told of something that was over before."""
    story = Relay(rule(), up=("apache/a",), group_wait="5s").at(10).expire("apache/a").at(11).up("apache/a").at(20)
    story.fall_silent().begin_history().expire("apache/a").at(22).up("apache/a").begin_history().at(900)
    assert story.speak_again().at(910).told == ["15 resolved r apache/a", "900 resolved r apache/a"]


def test_a_target_that_is_unknown_after_a_restart_is_told_as_forgotten() -> None:
    """Whatever became of what was remembered of it."""
    story = Relay(rule(service="*"), up=("apache/a", "pay/a")).at(10).expire("apache/a").leave()
    story.memory.pop("apache")
    assert story.come_back().told == ["10 firing r apache/a", "10 forgotten r apache/a"]
    assert story.at(900).books == {}


def test_reminders_and_escalation_go_on() -> None:
    """Both are counted from when people were told, not from the restart."""
    steps = ({"after": "250s", "channels": ("mail",)},)
    routes = (default_route(channels=("ops",), repeat_interval="100s", escalate=steps),)
    story = Relay(rule(), up=("apache/a",), routes=routes, **TWO).at(10).expire("apache/a").at(50).restart().at(200)
    story.restart().at(300)
    assert story.told == [
        "10 firing r apache/a to ops",
        "110 reminder r apache/a to ops",
        "210 reminder r apache/a to ops",
        "260 escalated r apache/a to mail",
    ]
    ends = story.at(310).up("apache/a").told[-2:]
    assert ends == ["310 resolved r apache/a to ops", "310 resolved r apache/a to mail"]


def test_a_standby_tells_nothing_and_takes_over_exactly() -> None:
    """It knows what fires, learns what was told, and tells the rest in its time, which may be over."""
    story = Relay(rule(), up=("apache/a", "apache/b", "apache/c"), has_standby=True, group_wait="5s")
    story.at(10).expire("apache/a").at(20).expire("apache/b").at(21).up("apache/b").expire("apache/c").at(30)
    assert story.told == ["15 firing r apache/a", "25 resolved r apache/b", "25 firing r apache/c"]
    story.at(40).up("apache/a").at(42).fail_over().at(44)
    assert story.told[3:] == []
    assert story.at(60).told[3:] == ["45 resolved r apache/a"]
    story.up("apache/c").at(70).fail_over().at(80)
    assert story.told[4:] == ["65 resolved r apache/c"]


def test_what_was_told_as_over_is_not_told_by_the_next_speaker() -> None:
    """One that fired and ended before it was told leaves no belief, and yet is known to have been told."""
    story = Relay(rule(), up=("apache/a",), has_standby=True, group_wait="5s").at(10).expire("apache/a").at(11)
    story.up("apache/a").at(20).fail_over().at(30).fail_over().at(900)
    assert story.told == ["15 resolved r apache/a"]
    assert story.books == {}


def test_where_revisions_begin_anew_what_is_over_is_told_by_the_next_speaker() -> None:
    """Though it happened at a lower revision than what was told before; and that is not told again."""
    story = Relay(rule(), up=("apache/a",), has_standby=True, group_wait="5s").at(10).expire("apache/a").at(11)
    story.up("apache/a").at(20).begin_history().at(21).fail_over().at(40)
    assert story.told == ["15 resolved r apache/a"]
    story.expire("apache/a").at(41).up("apache/a").fail_over().at(60)
    assert story.told == ["15 resolved r apache/a", "45 resolved r apache/a"]


def test_each_replica_names_a_message_alike_though_nobody_wrote_it_down() -> None:
    """Whenever it was started: a full etcd keeps nothing of what was told, and who leads next tells it again."""
    for turns, last in ((1, "firing"), (2, "resolved"), (4, "flapping")):
        story = Relay(rule(flap=FLAP), up=("apache/a", "apache/b"), has_standby=True).at(10).expire("apache/b").at(20)
        story.up("apache/b").at(100).restart_standby()
        books, known = dict(story.books), len(story.told)
        for turn in range(turns):
            story.at(110 + turn).expire("apache/a") if turn % 2 == 0 else story.up("apache/a")
        at_first = {each.id for each in story.notifications[known:]}
        story.books, known = books, len(story.told)
        story.fail_over().at(120)
        assert [line.split()[1] for line in story.told[known:]] == [last]
        assert {each.id for each in story.notifications[known:]} <= at_first


def test_the_end_of_a_firing_that_this_replica_never_saw_is_named_by_it() -> None:
    """Its own last turn was told long ago: an end told twice under one id would be taken for a copy."""
    below: dict[str, Any] = {"instances": {"below": 2}}
    story = Relay(rule(), up=("apache/a", "apache/b"))
    for begun in (10, 500):
        story.at(begun).restart(rule()).at(begun + 1).expire("apache/a").at(begun + 2).leave().up("apache/a")
        story.at(begun + 5).come_back(rule(when=below), lost_history=True).at(begun + 10)
    assert [line.split(" ", 1)[1] for line in story.told] == ["firing r apache/a", "resolved r apache/a"] * 2
    assert len({each.id for each in story.notifications}) == 4
    alert = story.notifications[-1].entries[0].alert
    assert alert.since is not None
    assert seconds(alert.since) == 501


def test_no_name_is_used_again_where_revisions_begin_anew_and_a_restart_follows() -> None:
    """A snapshot that is restored counts on from there: what it tells is no copy of what was told before."""
    story = Relay(rule(), up=("apache/a",)).at(10).expire("apache/a").at(20).up("apache/a").at(30)
    story.begin_history(at=100).put("apache/a").restart().at(40).expire("apache/a").at(50).up("apache/a").at(60)
    assert [line.split()[1] for line in story.told] == ["firing", "resolved"] * 2
    assert len({each.id for each in story.notifications}) == 4


def test_what_one_has_told_nobody_does_not_hide_what_comes_later() -> None:
    """A leader that was frozen past its lease has decided to tell of a firing, and could not; the next told its end.

    What fires and ends while that one is frozen in its turn has to be told all the same, by the first.
    """
    story = Relay(rule(), up=("apache/a",), has_standby=True).at(10).expire("apache/a")
    story.books = {}
    story.fail_over().at(20).up("apache/a").at(30)
    known = len(story.told)
    story.engine.hush()
    story.at(40).expire("apache/a").at(41).up("apache/a").fail_over().at(50)
    assert story.told[known:] == ["41 resolved r apache/a"]
    assert story.fail_over().at(60).fail_over().at(70).told[known + 1 :] == []


def test_what_changed_its_route_is_resolved_once_whoever_speaks() -> None:
    """Where it was told, and not on its new way too; also by one who had stood by, and could only suppose."""
    to_ops, to_mail = (default_route(channels=(name,)) for name in ("ops", "mail"))
    for speaks_last in ("the standby", "a new one"):
        story = Relay(rule(), up=("apache/a",), routes=(to_ops,), has_standby=speaks_last == "the standby", **TWO)
        story.at(10).expire("apache/a").at(20).reload(rule(), routes=(to_mail,), **TWO).at(30).up("apache/a").at(40)
        assert story.told == ["10 firing r apache/a to ops", "30 resolved r apache/a to ops"]
        if speaks_last == "the standby":
            story.fail_over().at(50).fail_over()
        else:
            story.restart(rule(), routes=(to_mail,), **TWO)
        assert story.at(60).told[2:] == [], speaks_last


def test_what_moved_to_another_group_leaves_nothing_in_its_old_one() -> None:
    """Whoever takes over finds what was told of it in one place, and tells its end once."""
    by_rule, by_instance = (default_route(group_by=by) for by in (("rule",), ("rule", "instance")))
    story = Relay(rule(), up=("apache/a", "apache/b"), routes=(by_rule,), has_standby=True).at(10).expire("apache/a")
    story.at(20).reload(rule(), routes=(by_instance,)).at(21)
    assert ["alerts" in record for record in story.books.values()] == [False, True]
    story.fail_over().at(30).up("apache/a").at(40).fail_over().at(50)
    assert story.told == ["10 firing r apache/a", "30 resolved r apache/a"]


def test_what_only_changed_its_route_is_told_to_nobody_new_by_the_next_speaker() -> None:
    """A takeover owes what the last speaker owed: nothing to the channel of the new route, all to one that waits."""
    to_ops, to_mail = (default_route(channels=(name,)) for name in ("ops", "mail"))
    story = Relay(rule(), up=("apache/a",), routes=(to_ops,), has_standby=True, **TWO).at(10).expire("apache/a")
    story.at(20).reload(rule(), routes=(to_mail,), **TWO).at(30).fail_over().at(60)
    assert story.told == ["10 firing r apache/a to ops"]
    first = route(channels=("ops",), continue_=True)
    slow = default_route(channels=("mail",), group_wait="30s")
    both = Relay(rule(), up=("apache/a",), routes=(first, slow), has_standby=True, **TWO).at(10).expire("apache/a")
    assert both.at(20).fail_over().at(60).told == ["10 firing r apache/a to ops", "40 firing r apache/a to mail"]
    over = both.at(61).up("apache/a").at(100).told[2:]
    assert over == ["61 resolved r apache/a to ops", "91 resolved r apache/a to mail"]
    assert both.fail_over().at(200).told[4:] == []


def test_what_its_data_would_lead_elsewhere_ends_where_it_began_whoever_speaks() -> None:
    """Its value names another route, or another group, while it fires: each replica keeps it where it was told."""
    eu = route(match={"zone": "eu"}, channels=("ops",), group_by=("service", "ver"))
    fields: dict[str, Any] = {"routes": (eu, default_route(channels=("mail",), group_by=("service", "ver"))), **TWO}
    moves: tuple[dict[str, Any], ...] = ({"zone": "us", "ver": "1"}, {"zone": "eu", "ver": "2"})
    for moved in moves:
        for restarts in ("nobody", "before the end", "after the end"):
            story = Relay(rule(when={"value": {"field": "load", "above": 4}}), has_standby=True, **fields)
            story.put("apache/a", load=9, zone="eu", ver="1").at(10).put("apache/a", load=9, **moved).at(
                20
            ).fail_over().at(21)
            if restarts == "before the end":
                story.restart_standby()
            story.at(30).put("apache/a", load=1, **moved).at(40)
            if restarts == "after the end":
                story.restart_standby()
            told = story.fail_over().at(50).fail_over().at(60).told
            assert told == ["0 firing r apache/a to ops", "30 resolved r apache/a to ops"], (moved, restarts)


def test_a_standby_lets_go_of_what_is_over() -> None:
    """What fires and ends day after day does not pile up in an engine that does not speak."""
    story = Relay(rule(), up=("apache/a",), has_standby=True).at(10)
    story.expire("apache/a").at(20).up("apache/a").at(900)
    assert story.standby is not None
    assert story.standby._desk.groups == {}


def test_a_storm_survives_a_failover_in_its_middle() -> None:
    """What is held is told in one digest by whoever speaks then, and what was told in it counts as told."""
    names = tuple(f"s{n:02}/a" for n in range(20))
    story = Relay(rule(service="*"), up=names, has_standby=True, settings=STORMY, group_wait="5s")
    story.at(10).expire(*names).at(20).fail_over().at(60)
    assert [str(sent.kind) for sent in story.notifications] == ["firing"] * 3 + ["digest"]
    assert sorted(entry.alert.target for sent in story.notifications for entry in sent.entries) == sorted(names)
    story.fail_over().at(100).up(*names).at(110).fail_over().at(200)
    ends = [entry for sent in story.notifications[4:] for entry in sent.entries]
    assert {entry.kind for entry in ends} == {Kind.RESOLVED}
    assert sorted(entry.alert.target for entry in ends) == sorted(names)


def test_each_channel_is_told_what_it_was_not_told() -> None:
    """One channel heard of all, the other of the first alone when the speaker died."""
    story = Relay(rule(service="*"), up=("s1/a", "s2/a", "s3/a", "s4/a"), has_standby=True, settings=STORMY, **TWO)
    story.at(10).expire("s1/a", "s2/a", "s3/a").at(11).expire("s4/a").at(12).fail_over().at(60)
    for channel in ("ops", "mail"):
        told = [each.alert.target for sent in story.notifications if sent.channel == channel for each in sent.entries]
        assert sorted(told) == ["s1/a", "s2/a", "s3/a", "s4/a"]


def test_names_that_are_no_text_are_remembered() -> None:
    """Keys are bytes, and stay so."""
    story = Relay(rule(service="*"), up=("apache/a",))
    key = b"/services/s\xff/i\xfe"
    story.events(story.event(EventKind.PUT, "x")._replace(key=key)).at(10).restart()
    assert key in set(story.engine.present_keys())
    gone = story.event(EventKind.EXPIRE, "x")._replace(key=key, revision=300)
    assert story.at(20).events(gone).told == [r"20 firing r s\xff/i\xfe"]
