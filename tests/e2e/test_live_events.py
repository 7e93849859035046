"""Live figures by a real client over a real socket: events come, and a reader that takes none is let go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn

from control.api import event_stream
from control.api.app import create_app
from control.services.load_watch import FOLLOWERS_MAX
from tests.fakes.control import ControlPlane, account, live_call, running_control
from tests.fakes.portal import EMAIL, PASSWORD, make_contact
from tests.fakes.waiting import until


@asynccontextmanager
async def serving(plane: ControlPlane, look_s: float = 0.02) -> AsyncIterator[str]:
    """The API on a port of its own, looking at the fake switch often."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(plane.ctx), log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serve = asyncio.create_task(server.serve(sockets=[listening]))
    looks = asyncio.create_task(plane.ctx.load.run(look_s))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/v1"
    finally:
        looks.cancel()
        server.should_exit = True
        await asyncio.wait([serve, looks])
        listening.close()


async def read_events(client: httpx.AsyncClient, path: str, count: int) -> list[Any]:
    found: list[Any] = []
    async with client.stream("GET", path, headers={"Accept": "text/event-stream"}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                found.append(msgspec.json.decode(line.removeprefix("data: ")))
                if len(found) == count:
                    break
    return found


def test_events_follow_the_switch_and_show_everybody_his_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_control(tmp_path) as plane, serving(plane) as url:
            first = await plane.make_customer(portal_access=True)
            second = await plane.make_customer(name="Other")
            await make_contact(plane, first)
            plane.switch.calls = [live_call(first, "1" * 32), live_call(second, "2" * 32), live_call(second, "3" * 32)]
            plane.switch.accounts = {first: account(first, 5 * 10**9, 10**9), second: account(second, 10**9)}
            key = {"Authorization": f"Bearer {plane.keys['read-only']}"}
            async with httpx.AsyncClient(base_url=url, headers=key) as client:
                events = await read_events(client, "/stats/live", 3)
                assert [each["channels"] for each in events] == [3, 3, 3]
                shown = {each["customer_id"]: each for each in events[-1]["customers"]}
                assert (shown[second]["channels"], shown[second]["available"]) == (2, "1")
                assert shown[first]["held"] == "1"
                assert events[-1]["providers"] == [{"provider_id": 1, "channels": 1, "cps": 0.0}]
                [one] = await read_events(client, f"/stats/live?customer_id={first}", 1)
                assert [each["customer_id"] for each in one["customers"]] == [first]
                assert (one["channels"], one["providers"]) == (1, [])
                plane.switch.is_connected = False
                assert (await read_events(client, "/stats/live", 2))[-1]["is_live"] is False
                plane.switch.is_connected = True
                # Who does not ask for a stream gets one event, and the end.
                assert (await client.get("/stats/live")).text.count("event: figures") == 1
                assert (await client.get("/stats/live?customer_id=999")).status_code == 404
            async with httpx.AsyncClient(base_url=f"{url}/portal") as client:
                assert (await client.get("/stats/live")).status_code == 401
                login = await client.post("/login", json={"email": EMAIL, "password": PASSWORD})
                client.headers["Authorization"] = f"Bearer {login.json()['token']}"
                [own] = await read_events(client, "/stats/live", 1)
                assert set(own) == {"at", "is_live", "channels", "cps", "balance", "held", "available"}
                assert (own["channels"], own["balance"], own["available"]) == (1, "5", "4")
            await until(lambda: plane.ctx.load.followers == 0)

    asyncio.run(run())


def test_a_reader_that_takes_nothing_is_let_go_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "SEND_S", 0.5)

    async def run() -> None:
        async with running_control(tmp_path) as plane, serving(plane, 0.005) as url:
            plane.switch.calls = [live_call(n, f"{n:032x}") for n in range(1, 201)]
            plane.switch.accounts = {n: account(n, 10**9) for n in range(1, 201)}
            host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
            with socket.socket() as stuck:
                stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                stuck.connect((host, int(port)))
                head = f"GET /api/v1/stats/live HTTP/1.1\r\nHost: x\r\nAccept: {event_stream.EVENT_STREAM}\r\n"
                stuck.sendall(f"{head}Authorization: Bearer {plane.keys['admin']}\r\n\r\n".encode())
                await until(lambda: plane.ctx.load.followers == 1)
                key = {"Authorization": f"Bearer {plane.keys['read-only']}"}
                async with httpx.AsyncClient(base_url=url, headers=key) as client:
                    assert len(await read_events(client, "/stats/live", 20)) == 20
                await until(lambda: plane.ctx.load.followers == 0)

    asyncio.run(run())


def test_no_more_follow_than_may_and_who_loses_its_key_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.services.live_figures.ALLOWED_S", 0.05)

    async def run() -> None:
        async with running_control(tmp_path) as plane, serving(plane) as url:
            made = await plane.post("/admin-keys", {"name": "Leaver", "role": "read-only"})
            async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {made['key']}"}) as client:
                events = asyncio.create_task(read_events(client, "/stats/live", 10**9))
                await until(lambda: plane.ctx.load.followers == 1)
                await plane.delete(f"/admin-keys/{made['id']}")
                assert await asyncio.wait_for(events, 10)
            plane.ctx.load._followers.update({object(): None for _ in range(FOLLOWERS_MAX)})
            answer = await plane.request("GET", "/stats/live")
            assert answer.status_code == 409
            plane.ctx.load._followers.clear()

    asyncio.run(run())
