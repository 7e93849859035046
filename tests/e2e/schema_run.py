"""Asks a running Tandem everything that its OpenAPI document describes, well-formed and not, and says what went wrong.

    python -m tests.e2e.schema_run --seconds 600

It starts an installation of its own, both planes on example data with calls in it, inside a network
namespace that has nothing but loopback: what it makes up for hosts and web addresses reaches nobody. Each
round goes through every operation, with requests that the document allows and with some that it does not.
A finding is a status of 500 or above but 503, a status or a body that the document does not have, a word of
another customer's in a contact's answer, or a complaint in the log. Rounds follow a seed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import requests
import schemathesis
import urllib3
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisException
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fakes.example_calls import example_vendor, whole_call
from tests.fakes.installation import Installation

MARK = "zzleakzz"
"""Stands in everything of the other customer's that takes a text."""
MARKS = (MARK, "198.51.100.177", "15559990177")
ANSWER_BYTES_MAX = 4 << 20
EXAMPLES = 3
PASSWORD = "correct horse battery"
SLOW_S = 5.0


class Findings:
    """What went wrong, each kind once."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.statuses: Counter[int] = Counter()
        self.asked = 0
        self.unlet: Counter[str] = Counter()
        self.slowest = (0.0, "")

    def add(self, kind: str, detail: str) -> None:
        if kind not in self.texts:
            self.texts[kind] = detail
            print(f"FINDING {kind}\n{detail}\n", flush=True)


class FromAddress(requests.adapters.HTTPAdapter):
    """Connections of a contact's own, from another address than staff's."""

    def init_poolmanager(self, *positional: Any, **named: Any) -> None:
        super().init_poolmanager(*positional, source_address=("127.0.0.9", 0), **named)


class Asker:
    """One installation, its document, and who asks."""

    def __init__(self, tandem: Installation, findings: Findings) -> None:
        self.tandem = tandem
        self.findings = findings
        self.api = f"{tandem.url}/api/v1"
        self.key = (tandem.data / "admin.key").read_text().strip()
        self.http = requests.Session()
        self.contact = requests.Session()
        # Wrong logins that are made up come from another address, and lock this one out of nothing.
        self.contact.mount("http://", FromAddress())
        document = self.http.get(f"{self.api}/openapi.json", timeout=10).json()
        schema = schemathesis.openapi.from_dict(document)
        self.operations = sorted(
            (_right(each) for each in schema.get_all_operations()), key=lambda each: str(each.label)
        )
        self.cdr_ids = ["0" * 32]
        self.audit_id = 0
        self._token = ""
        self._serial = 0

    def fill(self, vendor: Any) -> None:
        """Calls, and a customer whose things nobody else may see."""
        for number in range(3):
            whole_call(self.tandem, vendor, number)
        time.sleep(1.0)
        self.cdr_ids += [row["id"] for row in self.ask("GET", "/cdrs").json()["items"]]
        other = self.ask("POST", "/customers", {"name": f"Other {MARK}", "notes_public": MARK, "portal_access": True})
        path = f"/customers/{other.json()['id']}"
        self.ask("POST", f"{path}/endpoints", {"host": MARKS[1], "direction": "egress"})
        self.ask("POST", f"{path}/sip-users", {"username": MARK, "password": PASSWORD})
        self.ask("POST", f"{path}/payments", {"total": "7.77", "description": MARK})
        self.ask("POST", f"{path}/contacts", {"name": MARK, "email": f"{MARK}@example.com", "password": PASSWORD})

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.http.request(method, f"{self.api}{path}", json=body, headers=headers, timeout=20)

    def token(self) -> str:
        """Of a contact's session, a new one where the last is gone, as all that staff may change may be."""
        headers = {"Authorization": f"Bearer {self._token}"}
        if not self._token or self.contact.get(f"{self.api}/portal/me", headers=headers, timeout=10).status_code != 200:
            self._serial += 1
            name = f"own{self._serial}-{time.monotonic_ns()}"
            customer = self.ask("POST", "/customers", {"name": name, "portal_access": True}).json()
            email = f"{name}@example.com"
            contact = {"name": "Own", "email": email, "password": PASSWORD}
            self.ask("POST", f"/customers/{customer['id']}/contacts", contact)
            login = {"email": email, "password": PASSWORD}
            answer = self.contact.post(f"{self.api}/portal/login", json=login, timeout=10)
            if answer.status_code != 200:
                self.findings.add("no contact can log in", answer.text)
            self._token = answer.json().get("token", "")
        return self._token

    def round(self, number: int, mode: GenerationMode, until: float) -> None:
        draws = Random(number)
        for place, operation in enumerate(self.operations):
            if time.monotonic() > until:
                return
            self.examples(operation, number * 10_000 + place, mode, draws)

    def examples(self, operation: Any, start: int, mode: GenerationMode, draws: Random) -> None:
        is_portal = operation.path.startswith("/api/v1/portal/")
        token = self.token() if is_portal else self.key

        @seed(start)
        @settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def every(case: Any) -> None:
            self.try_case(case, token, draws, is_portal=is_portal)

        try:
            every()
        except HypothesisException as error:  # nothing wrong can be made up for it
            if mode is GenerationMode.POSITIVE:
                self.findings.add(f"{operation.label}: no request can be made", str(error)[:300])

    def try_case(self, case: Any, token: str, draws: Random, *, is_portal: bool) -> None:
        self.aim(case, draws)
        case.headers = {name: value for name, value in (case.headers or {}).items() if name != "Authorization"}
        sent = case.as_transport_kwargs(base_url=self.tandem.url, headers={"Authorization": f"Bearer {token}"})
        label = case.operation.label
        began = time.monotonic()
        try:
            is_login = case.operation.path.rpartition("/portal/")[2] in ("login", "password/link", "password/reset")
            session = self.contact if is_portal and not is_login else self.http
            answer = session.request(**sent, timeout=30, stream=True)
            is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
            body = b"" if is_stream else answer.raw.read(ANSWER_BYTES_MAX, decode_content=True)
        except requests.exceptions.InvalidHeader:
            return  # no client can send that
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            self.findings.add(f"{label}: no whole answer", f"{error!r}\n{told(sent)}")
            return
        answer._content = body
        answer.close()
        took = time.monotonic() - began
        findings = self.findings
        findings.asked += 1
        findings.statuses[answer.status_code] += 1
        findings.slowest = max(findings.slowest, (took, label))
        if took > SLOW_S:
            findings.add(f"{label}: slow", f"{took:.1f} s\n{told(sent)}")
        if answer.status_code == 401 and not is_login:
            findings.unlet[label] += 1
        if answer.status_code >= 500 and answer.status_code != 503:
            findings.add(f"{label}: {answer.status_code}", f"{told(sent)}\n{body[:500]!r}")
        if is_portal and any(mark.encode() in body.lower() for mark in MARKS) and MARK not in told(sent).lower():
            findings.add(f"{label}: another customer's", f"{told(sent)}\n{body[:500]!r}")
        if answer.status_code == 201 or (answer.status_code == 204 and sent["method"] == "DELETE"):
            self.check_audited(label, sent, body)
        if is_stream or len(body) >= ANSWER_BYTES_MAX or body == b"Invalid HTTP request received.":
            return  # the last is of the HTTP server: it was no request
        try:
            checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
            case.validate_response(answer, checks=checks)
        except FailureGroup as group:
            for failure in group.exceptions:
                self.note(label, failure, answer, sent, body)
        except Failure as failure:
            self.note(label, failure, answer, sent, body)

    def check_audited(self, label: str, sent: dict[str, Any], body: bytes) -> None:
        """Whatever was made or taken away has left a row in the audit trail."""
        latest = self.ask("GET", "/audit?limit=1").json()["items"][0]["id"]
        if latest <= self.audit_id:
            self.findings.add(f"{label}: not audited", f"{told(sent)}\n{body[:300]!r}")
        self.audit_id = latest

    def note(self, label: str, failure: Any, answer: Any, sent: Any, body: bytes) -> None:
        kind = f"{label}: {answer.status_code} {getattr(failure, 'title', type(failure).__name__)}"
        self.findings.add(kind, f"{str(failure)[:600]}\n{told(sent)}\n{body[:300]!r}")

    def aim(self, case: Any, draws: Random) -> None:
        """Most requests go to something that exists: made-up ids meet nothing but 404."""
        for name, value in (case.path_parameters or {}).items():
            if name == "cdr_id" and draws.random() < 0.8:
                case.path_parameters[name] = draws.choice(self.cdr_ids)
            elif isinstance(value, int) and draws.random() < 0.8:
                case.path_parameters[name] = draws.randrange(1, 7)
        if case.operation.path.startswith("/api/v1/admin-keys/") and str(case.path_parameters.get("row_id")) == "1":
            case.path_parameters["row_id"] = 2  # the first one is ours


def _right(result: Any) -> Any:
    return result.ok()


def told(sent: dict[str, Any]) -> str:
    """A request in one line, without the key."""
    kept = {name: sent[name] for name in ("params", "json", "data", "files") if sent.get(name)}
    return f"{sent['method']} {sent['url']} {kept!r}"[:1_500]


@contextmanager
def filled(findings: Findings) -> Iterator[Asker]:
    with tempfile.TemporaryDirectory() as name:
        tandem = Installation(Path(name))
        tandem.start()
        try:
            with example_vendor(tandem, Path(name)) as vendor:
                asker = Asker(tandem, findings)
                asker.fill(vendor)
            yield asker
            log = tandem.log.read_text()
            for needle in ("Traceback", "request failed", "critical"):
                if needle in log:
                    place = log.index(needle)
                    findings.add(f"log: {needle}", log[max(0, place - 600) : place + 2_500])
            if tandem.process is None or tandem.process.poll() is not None:
                findings.add("ended", log[-2_000:])
            elif tandem.health()["store"] != "ok" or tandem.health()["switch"] != "connected":
                findings.add("health", json.dumps(tandem.health()))
        finally:
            tandem.kill()


def run(seconds: float, first_round: int) -> Findings:
    findings = Findings()
    with filled(findings) as asker:
        until = time.monotonic() + seconds
        number = first_round
        while time.monotonic() < until:
            mode = GenerationMode.NEGATIVE if number % 3 == 2 else GenerationMode.POSITIVE
            asker.round(number, mode, until)
            number += 1
        print(f"{number - first_round} rounds over {len(asker.operations)} operations")
    print(f"{findings.asked} requests, {len(findings.texts)} findings, slowest {findings.slowest[0]:.2f} s")
    print("not let in:", dict(findings.unlet.most_common(8)))
    print("statuses:", dict(sorted(findings.statuses.items())))
    return findings


SPACES = ["-n"] if os.geteuid() == 0 else ["-rn"]
ALONE = 'ip link set lo up && exec "$0" "$@"'


def command(seconds: float, first_round: int = 0) -> list[str]:
    """The whole as a process of its own, with nothing but loopback to talk to."""
    options = ["--inside", "--seconds", str(seconds), "--round", str(first_round)]
    ours = [sys.executable, "-m", "tests.e2e.schema_run", *options]
    return ["unshare", *SPACES, "sh", "-c", ALONE, *ours]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--round", type=int, default=0, help="the first round; each has its own requests")
    parser.add_argument("--inside", action="store_true", help="the network is closed already")
    options = parser.parse_args()
    if not options.inside:
        return subprocess.run(command(options.seconds, options.round), check=False).returncode
    return 1 if run(options.seconds, options.round).texts else 0


if __name__ == "__main__":
    sys.exit(main())
