"""An alarm that stops calls shows in health for as long as it stands."""

from __future__ import annotations

from control.alarms import Alarms
from switch.outputs import Alarm, GatewayHealth


def alarm(name: str) -> Alarm:
    return Alarm(name=name, detail=f"{name} of the disk", at_ms=0)


def test_a_failed_journal_stands_until_the_switch_says_that_it_is_over() -> None:
    alarms = Alarms(lambda: 7)
    alarms.note(GatewayHealth(gateway_id=1, is_up=False, reason="timeout", changed_ms=0))
    alarms.note(alarm("journal_damaged"))
    assert alarms.faults() == []
    alarms.note(alarm("journal_failed"))
    alarms.note(alarm("store_failed"))
    assert alarms.faults() == ["the switch takes no new calls: journal_failed of the disk"]
    alarms.note(alarm("journal_recovered"))
    assert alarms.faults() == []


def test_what_a_switch_said_does_not_stand_for_the_one_that_was_started_after_it() -> None:
    started = [7]
    alarms = Alarms(lambda: started[0])
    alarms.note(alarm("journal_failed"))
    assert alarms.faults()
    started[0] = 8
    assert alarms.faults() == []
    alarms.note(alarm("journal_failed"))  # it tells again what stands
    assert alarms.faults()


def test_recent_alarms_are_kept_newest_first_and_each_once() -> None:
    alarms = Alarms(lambda: 1)
    quick = Alarm(name="quick_answers", detail="provider 1", at_ms=5)
    damaged = Alarm(name="journal_damaged", detail="offset 7", at_ms=6)
    for event in (quick, damaged, quick):
        alarms.note(event)
    assert alarms.recent() == [damaged, quick]
