"""Whatever comes in, what goes out is an answer: no 5xx for any body, query or path."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.api.openapi import openapi_document
from control.api.routes import ROUTES
from control.api.routing import Route
from control.services.problems import SHAPES
from tests.fakes.control import ControlPlane, running_control, with_control
from tests.fakes.databases import Database

BODIES = [
    route for route in ROUTES if route.patches is not None or (route.body is not None and route.body is not bytes)
]
QUERIES = [route for route in ROUTES if route.query is not None and route.method == "GET"]

AWKWARD = """
=cmd|'/C_calc'!A0 '_OR_1=1_-- <script>alert(1)</script> 192.0.2.1 10.0.0.0/8 ::1 fe80::1%eth0 -0 NaN 1e400
0.1 2027-13-45 9999-12-31T23:59:59-12:00 0001-01-01T00:00:00+14:00 off USD 1234 ^1[2-9] (((( 442071838750
"""

text = st.text(max_size=20) | st.sampled_from([*AWKWARD.split(), "\x00", "\U0010ffff", "9" * 30])
number = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
leaf = st.none() | st.booleans() | number | text
anything = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)


def fields_of(route: Route) -> list[str]:
    kind = route.patches or route.body
    names = list(getattr(kind, "__struct_fields__", ()))
    return [*names, "row_version", "bogus"]


@st.composite
def bodies(draw: st.DrawFn) -> tuple[Route, Any]:
    route = draw(st.sampled_from(BODIES))
    body = draw(st.dictionaries(st.sampled_from(fields_of(route)), anything, max_size=6) | anything)
    if isinstance(body, dict) and draw(st.booleans()):
        body = {"name": "Any", "direction": "sell", "host": "192.0.2.7", "rate_card_id": 1, "role": "admin", **body}
    return route, body


class Planes:
    """One control plane over all examples of a test; its loop is driven by hand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Planes:
        self._loop = asyncio.new_event_loop()
        self._folder = tempfile.TemporaryDirectory()
        self._running = running_control(Path(self._folder.name), self._database)
        self.plane = self._loop.run_until_complete(self._running.__aenter__())
        self._loop.run_until_complete(self._fill())
        return self

    async def _fill(self) -> None:
        await self.plane.make_customer()
        provider = await self.plane.make_provider()
        await self.plane.make_buy_card(provider)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        return self._loop.run_until_complete(self.plane.request(method, path, **more))

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._running.__aexit__(None, None, None))
        self._folder.cleanup()
        self._loop.close()


def path_of(route: Route, row_id: int) -> str:
    path = route.path
    for name in ("row_id", "customer_id", "provider_id", "card_id", "revision_id", "client_id", "site_id", "bill_id"):
        path = path.replace(f"{{{name}:int}}", str(row_id))
    return path.replace("{cdr_id:str}", "0" * 32)


def check(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["status"] == answer.status_code
        if answer.status_code == 400:
            assert problem["errors"], problem
            assert all(isinstance(error["path"], str) and error["reason"] for error in problem["errors"])


def test_any_json_body_is_taken_or_refused_by_its_fields(database: Database) -> None:
    with Planes(database) as planes:

        @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=bodies(), row_id=st.sampled_from([1, 2, 0, -1, 2**63, 2**80]))
        def holds(case: tuple[Route, Any], row_id: int) -> None:
            route, body = case
            check(planes.ask(route.method, path_of(route, row_id), json=body))

        holds()


def test_any_query_is_taken_or_refused_by_its_parameters(database: Database) -> None:
    with Planes(database) as planes:

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(data=st.data())
        def holds(data: st.DataObject) -> None:
            route = data.draw(st.sampled_from(QUERIES))
            assert route.query is not None
            names = st.sampled_from([*route.query.__struct_encode_fields__, "bogus"])
            query = data.draw(st.dictionaries(names, text | st.integers().map(str), max_size=3))
            check(planes.ask("GET", path_of(route, 1), params=query))

        holds()


def test_any_bytes_as_a_body_are_refused_as_no_json(database: Database) -> None:
    with Planes(database) as planes:

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(body=st.binary(max_size=40))
        def holds(body: bytes) -> None:
            answer = planes.ask("POST", "/customers", content=body)
            check(answer)
            assert answer.status_code == 400

        holds()


@with_control
async def test_json_nested_ten_thousand_deep_is_refused(plane: ControlPlane) -> None:
    for opening in (b"[", b'{"name":', b'{"timers":{"pdd_ms":'):
        check(await plane.request("POST", "/customers", content=b'{"x":' + opening * 10_000, status=400))
        check(await plane.request("PATCH", "/customers/1", content=b'{"x":' + opening * 10_000, status=400))


@with_control
async def test_a_body_over_the_limit_is_refused_with_413(plane: ControlPlane) -> None:
    large = b'{"notes_public": "' + b"a" * 2_000_000 + b'"}'
    answer = await plane.request("POST", "/customers", content=large, status=413)
    assert answer.json()["title"] == "Too large"


@with_control
async def test_unknown_paths_and_methods_are_problem_documents(plane: ControlPlane) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("PUT", "/customers", 405), ("GET", "/customers/x", 404)):
        answer = await plane.request(method, path, status=status)
        assert answer.headers["content-type"] == "application/problem+json"


def test_every_form_that_a_text_must_have_is_told_in_words() -> None:
    written = msgspec.json.encode(openapi_document(ROUTES)).decode()
    patterns = {msgspec.json.decode(found) for found in re.findall(r'"pattern":("(?:[^"\\]|\\.)*")', written)}
    assert len(patterns) > 10
    assert patterns - set(SHAPES) == set()


@with_control
async def test_a_refusal_names_the_values_that_a_field_takes(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    rule = f"/customers/{customer}/cli-rules"
    alert = {"name": "A", "operator": "<", "threshold": "5", "recipients": [{"email": "a@example.com"}]}
    for method, path, body, at, reason in (
        (
            "POST",
            "/customers",
            {"name": "A", "status": "gone"},
            "status",
            "one of active, inactive, penalty, pending_approval",
        ),
        (
            "PATCH",
            f"/customers/{customer}",
            {"minimum_payment_period": "yearly"},
            "minimum_payment_period",
            "one of daily, monthly, weekly",
        ),
        ("POST", rule, {"action": "zap"}, "action", "one of allow, deny, force, rewrite"),
        ("POST", "/alerts", {**alert, "area": "weather"}, "area", "failures, pdd, spend_per_hour"),
        ("POST", "/customers", {"name": "A", "debit_limit": "5,0"}, "debit_limit", "not a decimal number, as in 12.5"),
        (
            "POST",
            "/customers",
            {"name": "A", "currency": "usd"},
            "currency",
            "not three capital letters of ISO 4217, as in USD",
        ),
        ("POST", "/customers", {"name": "A", "tags": ["a\n"]}, "tags[0]", "holds a line end"),
        ("POST", "/customers", {"name": "A", "allowed_headers": ["Via"]}, "allowed_headers[0]", "as in X-Account"),
        ("POST", "/customers", {"name": "\u200b \u202e"}, "name", "something that can be seen"),
    ):
        problem = (await plane.request(method, path, body, status=400)).json()
        assert problem["errors"][0]["path"] == at
        assert reason in problem["errors"][0]["reason"]
    listed = await plane.get("/customers?status=gone", status=400)
    assert listed["errors"][0]["reason"].endswith("one of active, inactive, penalty, pending_approval")
