"""The parent of both planes: restarts, signals, the order of stopping, and who dies with whom."""

from __future__ import annotations

import os
import signal
import site
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from control import supervisor
from control.supervisor import RESTART_DELAY_MAX_S, child_environment, restart_delay_s
from tests.fakes import children

WAIT_S = 15.0


class Family:
    """One supervisor over two stand-ins, and what they logged."""

    def __init__(self, folder: Path, switch: str, control: str, drain_s: float) -> None:
        self.folder = folder
        command = [sys.executable, "-P", children.__file__, str(folder), switch, control, str(drain_s)]
        self.process = subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE, text=True)

    def log(self, name: str) -> list[str]:
        path = self.folder / f"{name}.log"
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def starts(self, name: str) -> list[int]:
        return [int(line.split()[1]) for line in self.log(name) if line.startswith("start")]

    def ready(self) -> None:
        until(lambda: "ready" in self.log("switch") and "ready" in self.log("control"))

    def ended(self) -> tuple[int, str]:
        _, told = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, told


def until(claim: Callable[[], bool]) -> None:
    last = time.monotonic() + WAIT_S
    while not claim():
        assert time.monotonic() < last, "it did not come to pass"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Family]]:
    families: list[Family] = []

    def starter(switch: str = "plain", control: str = "plain", drain_s: float = 5.0) -> Family:
        families.append(Family(tmp_path, switch, control, drain_s))
        return families[-1]

    yield starter
    for family in families:
        family.process.kill()
        family.process.communicate()


def test_restarts_are_spaced_wider_and_wider_up_to_a_limit() -> None:
    delays = [restart_delay_s(failures) for failures in range(1, 60)]
    assert delays[:4] == [0.2, 0.4, 0.8, 1.6]
    assert delays == sorted(delays)
    assert delays[-1] == RESTART_DELAY_MAX_S


def test_children_of_sources_find_the_sources_and_nothing_of_the_current_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    root = str(Path(supervisor.__file__).parents[1])
    path = child_environment()["PYTHONPATH"]
    if root in site.getsitepackages():
        assert path == "/somewhere"
    else:
        assert path == f"{root}{os.pathsep}/somewhere"


def test_an_installed_package_is_not_named_to_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(Path(supervisor.__file__).parents[1])])
    assert "PYTHONPATH" not in child_environment()


@pytest.mark.slow
def test_a_child_that_dies_is_started_again_and_the_other_left_alone(start: Callable[..., Family]) -> None:
    family = start()
    family.ready()
    os.kill(family.starts("control")[0], signal.SIGKILL)
    until(lambda: len(family.starts("control")) == 2)
    os.kill(family.starts("switch")[0], signal.SIGKILL)
    until(lambda: len(family.starts("switch")) == 2)
    assert len(family.starts("control")) == 2


@pytest.mark.slow
def test_sigterm_ends_the_switch_first_and_the_control_process_after_it(start: Callable[..., Family]) -> None:
    family = start(switch="slow:0.4")
    family.ready()
    family.process.send_signal(signal.SIGTERM)
    until(lambda: "term" in family.log("switch"))
    assert "term" not in family.log("control")
    status, _ = family.ended()
    assert status == 0
    assert family.log("switch")[-1] == family.log("control")[-1] == "end"


@pytest.mark.slow
def test_a_switch_that_does_not_end_is_killed_after_the_drain(
    start: Callable[..., Family],
) -> None:
    family = start(switch="deaf", drain_s=-supervisor.DRAIN_MARGIN_S + 0.3)
    family.ready()
    family.process.send_signal(signal.SIGTERM)
    status, told = family.ended()
    assert status == 0
    assert "did not end in time" in told
    assert family.log("control")[-1] == "end"


@pytest.mark.slow
def test_a_second_sigterm_waits_for_nobody(start: Callable[..., Family]) -> None:
    family = start(switch="deaf", drain_s=600.0)
    family.ready()
    family.process.send_signal(signal.SIGTERM)
    until(lambda: "term" in family.log("switch"))
    family.process.send_signal(signal.SIGINT)
    status, _ = family.ended()
    assert status == 0
    assert "end" not in family.log("switch")


@pytest.mark.slow
def test_sighup_reaches_both(start: Callable[..., Family]) -> None:
    family = start()
    family.ready()
    family.process.send_signal(signal.SIGHUP)
    until(lambda: "hup" in family.log("switch") and "hup" in family.log("control"))


@pytest.mark.slow
def test_children_die_with_a_killed_parent(start: Callable[..., Family]) -> None:
    family = start(switch="deaf")
    family.ready()
    pids = family.starts("switch") + family.starts("control")
    family.process.kill()
    until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.slow
def test_a_mistake_at_the_first_start_ends_everything_instead_of_trying_for_ever(
    start: Callable[..., Family],
) -> None:
    family = start(switch="exit:2")
    status, told = family.ended()
    assert status == 1
    assert "cannot start" in told
    assert len(family.starts("switch")) == 1


@pytest.mark.slow
def test_any_other_failure_is_tried_again(start: Callable[..., Family]) -> None:
    family = start(control="exit:1")
    until(lambda: len(family.starts("control")) >= 3)
    assert len(family.starts("switch")) == 1
