"""A whole installation from outside: the command, HTTP, SIP packets, signals."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

import config
from tests.e2e.peer import Dialog, Peer, answered_call, hang_up
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow

EXAMPLE = Path(config.__file__).parent / "example" / "example.toml"


@pytest.fixture
def tandem(installation: Installation) -> Installation:
    """Not started yet."""
    return installation


def example_with_vendor_at(folder: Path, port: int) -> Path:
    """The example data, with its first vendor where the test listens."""
    text = EXAMPLE.read_text().replace("port = 5080", f"port = {port}")
    path = folder / "wanted.toml"
    path.write_text(text)
    for deck in EXAMPLE.parent.glob("*.csv"):
        (folder / deck.name).write_bytes(deck.read_bytes())
    return path


def refused_call(caller: Peer, number: str) -> int:
    """One INVITE that is not let in; returns the status."""
    dialog = Dialog(caller, number)
    caller.send(dialog.invite())
    answer = caller.wait_for_final()
    caller.send(dialog.ack(answer))
    return answer.status


def test_an_installation_starts_takes_the_example_answers_and_stops(tandem: Installation) -> None:
    tandem.start()
    assert tandem.health()["status"] == "ok"
    for kept in [tandem.data, *tandem.data.rglob("*")]:
        assert kept.stat().st_mode & 0o077 == 0, f"others may look into {kept}"

    first = json.loads(tandem.tandem("apply", str(EXAMPLE), "--json"))
    assert len(first["differences"]) > 20
    second = json.loads(tandem.tandem("apply", str(EXAMPLE), "--json"))
    assert second["differences"] == []
    assert "nothing to do" in tandem.tandem("apply", str(EXAMPLE))

    names = {row["name"] for row in tandem.api.items("/customers")}
    assert "Acme Voice" in names
    statuses = {row["name"]: row["status"] for row in tandem.api.items("/clients", {"include": "inactive"})}
    assert statuses["Mill Court"] == "suspended"
    assert statuses["Old Exchange"] == "inactive"

    decision = json.loads(tandem.tandem("simulate", "1234442071234567", "--json"))
    assert decision["is_admitted"]
    assert [each["provider_name"] for each in decision["candidates"]] == ["Meridian", "Northgate"]
    assert "client_suspended" in tandem.tandem("simulate", "2003442071234567")
    price = json.loads(tandem.tandem("price", "Wholesale sell", "442071234567", "1:01", "--json"))
    # 61 s at 30/6 are 66 s; 66/60 of 0.0098 is 0.01078, rounded up to four decimals.
    assert (price["billed_s"], price["gross"]) == (66, "0.0108")

    assert tandem.stop() == 0
    assert tandem.log.read_text().count("Traceback") == 0


def test_apply_changes_what_the_file_says_and_nothing_else(tandem: Installation, tmp_path: Path) -> None:
    tandem.start("--example")
    (acme,) = [row for row in tandem.api.items("/customers") if row["name"] == "Acme Voice"]
    tandem.api.patch(f"/customers/{acme['id']}", {"notes_private": "kept", "channels": 7})
    wanted = tmp_path / "wanted.toml"
    wanted.write_text(
        """
        [customers."Acme Voice"]
        debit_limit = "0.000"
        channels = 9
        timers = { pdd_ms = 9000 }
        [rate_cards."Wholesale sell"]
        vendor_cards = ["Northgate buy"]
        deck = "dearer.csv"
        """
    )
    (tmp_path / "dearer.csv").write_text("prefix,name,rate\n44,United Kingdom,0.5\n")
    printed = tandem.tandem("apply", str(wanted), "--dry-run")
    assert "channels: 7 → 9" in printed
    assert "debit_limit" not in printed
    differences = json.loads(tandem.tandem("apply", str(wanted), "--json"))["differences"]
    assert [(each["action"], each["what"], sorted(each["changes"])) for each in differences] == [
        ("change", "rate card Wholesale sell", ["vendor_cards"]),
        ("load", "rate card Wholesale sell", ["deck"]),
        ("change", "customer Acme Voice", ["channels", "timers"]),
    ]
    assert "nothing to do" in tandem.tandem("apply", str(wanted))
    changed = tandem.api.get(f"/customers/{acme['id']}")
    assert (changed["channels"], changed["notes_private"], changed["timers"]["pdd_ms"]) == (9, "kept", 9000)
    decision = json.loads(tandem.tandem("simulate", "1234442071234567", "--json"))
    assert decision["sell_rate"] == "0.5"
    assert [each["provider_name"] for each in decision["candidates"]] == ["Northgate"]


def test_decks_are_checked_compared_loaded_and_rolled_back(tandem: Installation, tmp_path: Path) -> None:
    tandem.start("--example")
    card = "Wholesale sell"
    bad = tmp_path / "bad.csv"
    bad.write_text("prefix,name,rate\n44,United Kingdom,free\n45,Denmark,0.1\nx,Nowhere,-1\n")
    complaint = tandem.tandem("deck", "import", card, str(bad), "--activate", status=1)
    assert "line 2, rate" in complaint
    assert "line 4" in complaint
    assert complaint.splitlines()[-1].endswith("nothing was changed")

    good = tmp_path / "good.csv"
    good.write_text("prefix,name,rate\n44,United Kingdom,0.9\n45,Denmark,0.001\n")
    assert "2 rows would be loaded" in tandem.tandem("deck", "import", card, str(good), "--dry-run")
    counts = json.loads(tandem.tandem("deck", "diff", card, str(good), "--json"))["counts"]
    assert (counts["raised"], counts["lowered"]) == (1, 1)
    assert "United Kingdom" in tandem.tandem("deck", "diff", card, str(good))

    def price() -> str:
        return str(json.loads(tandem.tandem("price", card, "441234567890", "60", "--json"))["rate"])

    loaded = json.loads(tandem.tandem("deck", "import", card, str(good), "--json"))
    assert price() == "0.012"
    tandem.tandem("deck", "activate", card, str(loaded["revision"]["id"]))
    assert price() == "0.9"
    tandem.tandem("deck", "activate", card, str(loaded["revision"]["id"] - 1))
    assert price() == "0.012"
    complaint = tandem.tandem("deck", "activate", card, "999", status=1)
    assert "no revision 999" in complaint


def test_the_example_is_loaded_into_an_empty_store_and_once(tandem: Installation) -> None:
    tandem.start("--example")
    assert len(list(tandem.api.items("/customers"))) == 4
    assert tandem.health() == tandem.health() | {"status": "ok", "switch": "connected"}
    version = tandem.health()["snapshot_version"]
    assert tandem.stop() == 0
    tandem.log.write_text("")
    tandem.start("--example")
    # A start sends the whole configuration under one new version; nothing else has changed.
    assert tandem.health()["snapshot_version"] == version + 1
    assert "nothing to do" in tandem.tandem("apply", str(EXAMPLE))


def test_calls_that_end_while_the_control_process_is_stopped_and_killed_all_have_cdrs(
    tandem: Installation, tmp_path: Path
) -> None:
    tandem.start()
    with Peer(("127.0.0.1", 0), tandem.sip) as caller, Peer(("127.0.0.1", 0), tandem.sip) as vendor:
        tandem.tandem("apply", str(example_with_vendor_at(tmp_path, vendor.at[1])))
        control = tandem.child("control")
        os.kill(control, signal.SIGSTOP)
        for number in range(200):
            dialog, invite = answered_call(caller, vendor, f"1234442071{number:06d}")
            assert invite.uri.startswith(f"sip:442071{number:06d}@")
            hang_up(dialog, caller, vendor)
        assert refused_call(caller, "2003442071234567") == 403
        os.kill(control, signal.SIGKILL)
        tandem.wait(lambda: not tandem.is_alive(control) and len(tandem.ready_lines()) >= 3, "the control process")
        tandem.wait(lambda: len(list(tandem.api.items("/cdrs"))) == 201, "201 CDRs")
        time.sleep(0.5)
        rows = list(tandem.api.items("/cdrs"))
    assert len({row["id"] for row in rows}) == 201
    assert sorted({row["cause"] for row in rows}) == ["client_suspended", "normal"]
    answered = [row for row in rows if row["cause"] == "normal"]
    # Under a second of talk is billed 30 s: half of 0.0098.
    assert {(row["billed_s"], row["gross"]) for row in answered} == {(30, "0.0049")}
    exported = tandem.tandem("cdr", "export", "--format", "jsonl").splitlines()
    assert len(exported) == 201
    assert len(tandem.tandem("cdr", "export", "--customer", "Acme Voice").splitlines()) == 201
    assert tandem.stop() == 0


def test_damage_in_the_journal_shows_in_health_and_stops_no_call(tandem: Installation) -> None:
    tandem.start("--example")
    control = tandem.child("control")
    os.kill(control, signal.SIGSTOP)
    with Peer(("127.0.0.1", 0), tandem.sip) as caller:
        for number in range(3):
            assert refused_call(caller, f"200344207100000{number}") == 403
        (segment,) = (tandem.data / "journal").glob("*.tj")
        content = segment.read_bytes()
        place = content.index(b"2003442071000001")
        with segment.open("r+b") as file:
            file.seek(place)
            file.write(b"9")
        os.kill(control, signal.SIGKILL)
        tandem.wait(lambda: len(tandem.ready_lines()) >= 3, "the control process")
        tandem.wait(lambda: tandem.health()["status"] == "degraded", "health to say so")
        (fault,) = tandem.health()["faults"]
        assert segment.name in fault
        assert "checksum" in fault
        assert [row["dialled_in"] for row in tandem.api.items("/cdrs")] == ["2003442071000000"]
        assert refused_call(caller, "2003442071000009") == 403


def test_calls_go_on_by_the_last_configuration_after_both_planes_were_killed(
    tandem: Installation, tmp_path: Path
) -> None:
    tandem.start()
    with Peer(("127.0.0.1", 0), tandem.sip) as vendor:
        tandem.tandem("apply", str(example_with_vendor_at(tmp_path, vendor.at[1])))
        os.kill(tandem.child("control"), signal.SIGKILL)
        os.kill(tandem.child("switch"), signal.SIGKILL)
        tandem.wait(lambda: len(tandem.ready_lines()) >= 4, "both planes again")
        vendor.switch = tandem.sip  # another free port
        with Peer(("127.0.0.1", 0), tandem.sip) as caller:
            dialog, _ = answered_call(caller, vendor, "1234442071000001")
            hang_up(dialog, caller, vendor)
        tandem.wait(lambda: len(list(tandem.api.items("/cdrs"))) == 1, "the CDR")


def test_a_live_call_is_listed_and_ended_both_ways(tandem: Installation, tmp_path: Path) -> None:
    tandem.start()
    with Peer(("127.0.0.1", 0), tandem.sip) as caller, Peer(("127.0.0.1", 0), tandem.sip) as vendor:
        tandem.tandem("apply", str(example_with_vendor_at(tmp_path, vendor.at[1])))
        answered_call(caller, vendor, "1234442071000001")
        (call,) = json.loads(tandem.tandem("calls", "list", "--customer", "Acme Voice", "--json"))
        assert call["state"] == "answered"
        tandem.tandem("calls", "end", call["cdr_id"])
        assert caller.wait_for_request("BYE")
        assert vendor.wait_for_request("BYE")


def test_mistakes_are_one_clear_line(tandem: Installation, tmp_path: Path) -> None:
    def complaint(*arguments: str, status: int) -> str:
        text = tandem.tandem(*arguments, status=status)
        assert text.startswith("tandem: ")
        assert text.count("\n") == 1
        return text

    assert "No such file" in complaint("run", "--config", str(tmp_path / "none.toml"), status=2)
    assert "admin.key: No such file" in complaint("simulate", "1", status=1)
    tandem.start()
    key = tmp_path / "wrong.key"
    key.write_text("tandem_nothing\n")
    assert "key is not accepted" in complaint("simulate", "1", "--key-file", str(key), status=1)
    assert 'there is no rate card "None"' in complaint("price", "None", "44", "1", status=1)
    assert "not a duration" in complaint("price", "None", "44", "x", status=2)
    assert "at: " in complaint("simulate", "1", "--at", "yesterday", status=1)
    url = tandem.url
    assert tandem.stop() == 0
    assert "is it running?" in complaint("simulate", "1", "--url", url, status=1)


def test_a_port_in_use_is_named_and_ends_the_start(tandem: Installation, tmp_path: Path) -> None:
    tandem.start()
    port = tandem.url.rpartition(":")[2]
    (tmp_path / "second").mkdir()
    second = Installation(tmp_path / "second")
    second.config.write_text(second.config.read_text().replace("[api]\nport = 0", f"[api]\nport = {port}"))
    complaint = second.tandem("run", "--config", str(second.config), status=1)
    assert f"127.0.0.1:{port}: Address already in use" in complaint
