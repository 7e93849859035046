"""SIPVicious, which half the internet is scanned with, against a running switch: it finds a server and no more."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from config.settings import Sip
from sipp_scenarios.changes import REALM
from sipp_scenarios.places import Place
from switch.policy.hashes import make_ha1
from switch.snapshot import Record, SipUser
from tests.e2e.plane import Plane
from tests.e2e.test_inbound_from_outside import with_phone

FOLDERS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("sipvicious_svwar", path=FOLDERS) is None, reason="needs sipvicious"),
]

USER = "1500"
PASSWORD = "999"
"""A number, as of a phone in a hurry: the only thing between it and these tools is the throttle."""


def guessable(place: Place) -> list[Record]:
    ha1 = {name: make_ha1(name, USER, REALM, PASSWORD) for name in ("MD5", "SHA-256", "SHA-512-256")}
    return [
        replace(
            record,
            username=USER,
            ha1_md5=ha1["MD5"],
            ha1_sha256=ha1["SHA-256"],
            ha1_sha512_256=ha1["SHA-512-256"],
        )
        if isinstance(record, SipUser)
        else record
        for record in with_phone(place)
    ]


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path, records=guessable)
    made.start()
    yield made
    made.assert_sound()
    assert made.cdrs() == []
    assert made.account().holds == 0
    made.kill()


def play(plane: Plane, tool: str, *arguments: str) -> str:
    """All that the tool says; it comes from a stranger's address where it can."""
    command = shutil.which(f"sipvicious_{tool}", path=FOLDERS)
    assert command is not None
    home = plane.folder / "home"
    home.mkdir(exist_ok=True)
    source = plane.stranger[0]
    done = subprocess.run(
        [command, "-b", source, "-x", source, *arguments, plane.switch[0]],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=home,
        env={**os.environ, "HOME": str(home)},
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("method", ["OPTIONS", "REGISTER", "INVITE"])
def test_svmap_learns_that_there_is_a_server_and_not_whose(plane: Plane, method: str) -> None:
    said = play(plane, "svmap", "-m", method)
    # Its REGISTER is so short that no challenge is as short: to an address that may be forged, nothing is said.
    assert (f"{plane.switch[0]}:{plane.switch[1]}" in said) == (method != "REGISTER"), said
    assert "andem" not in said


@pytest.mark.parametrize("options", [(), ("--force",)])
@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_svwar_finds_none_of_a_thousand_extensions(plane: Plane, method: str, options: tuple[str, ...]) -> None:
    said = play(plane, "svwar", "-m", method, "-e", "1000-1999", "-t", "0.001", *options)
    assert "found nothing" in said, said


@pytest.mark.parametrize("options", [(), ("-n",)])
def test_svcrack_is_cut_off_long_before_it_comes_to_the_password(plane: Plane, options: tuple[str, ...]) -> None:
    said = play(plane, "svcrack", "-u", USER, "-r", "1-1000", "-t", "0.001", *options)
    assert "found nothing" in said, said
    counters = plane.stats().counters
    assert counters["credentials_wrong"] == Sip().auth_failures_max < 50
    assert counters["credentials_throttled"] > 900


def test_svcrack_finds_a_password_that_is_among_its_first_tries(plane: Plane) -> None:
    """So it is the throttle that keeps it out, and not that it does not understand us."""
    said = play(plane, "svcrack", "-u", USER, "-r", "990-1000", "-t", "0.05")
    assert PASSWORD in said, said
