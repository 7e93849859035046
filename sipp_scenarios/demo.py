"""Shows what Tandem does, in half a minute: real SIPp calls through a whole, fresh installation.

    python sipp_scenarios/demo.py [--keep]

It takes free ports, starts `tandem run` on a temporary folder with the example data, plays an
answered call, a failover, two refusals and a digest call, and reads their CDRs through the API.
Exit code 0 only if each came out right: cause, attempts, and price to the last digit.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from sipp_scenarios import prices
from sipp_scenarios.sipp import Sipp, bracketed
from sipp_scenarios.traps import free_ports
from sipp_scenarios.tunnel import OnlyMd5
from sipp_scenarios.whole_tandem import HOST, TandemFailed, WholeTandem, example_prices

LONDON = "442071234567"
USER, PASSWORD = "alice", "wonderland-42"
"""As `config/example/example.toml` has them."""
BUY_LISTS = {"Meridian": "buy_meridian.csv", "Northgate": "buy_northgate.csv"}


class Scene(NamedTuple):
    """One call of the show."""

    title: str
    caller: str
    dialled: str
    vendors: tuple[str, ...]
    cause: str
    status: int
    tries: tuple[tuple[str, int], ...]
    talk_ms: int = 1_500
    by_digest: bool = False


SCENES = (
    Scene(
        "an answered, priced call", "uac_call", f"1234{LONDON}", ("uas_answers",), "normal", 200, (("Meridian", 200),)
    ),
    Scene(
        "a failover: the first vendor says 503",
        "uac_call",
        f"1234{LONDON}",
        ("uas_is_out_of_service", "uas_answers"),
        "normal",
        200,
        (("Meridian", 503), ("Northgate", 200)),
        talk_ms=2_300,
    ),
    Scene("a refusal: the client is suspended", "uac_refused", f"2003{LONDON}", (), "client_suspended", 403, ()),
    Scene("a refusal: nobody prices the number", "uac_refused", "1234999123456789", (), "no_sell_rate", 404, ()),
    Scene(
        "a call by digest, from a softphone's account",
        "uac_digest_call",
        LONDON,
        ("uas_answers",),
        "normal",
        200,
        (("Meridian", 200),),
        by_digest=True,
    ),
)


async def play(scene: Scene, tandem: WholeTandem, logs: Path) -> list[str]:
    """One call from INVITE to its end; what SIPp did not like."""
    caller_port, door_port = free_ports(2, HOST)
    vendors = [Sipp(name, at=at, logs=logs) for name, at in zip(scene.vendors, tandem.vendors, strict=False)]
    caller = Sipp(scene.caller, at=(HOST, caller_port), to=tandem.switch, logs=logs)
    relay = OnlyMd5((HOST, door_port), caller.at, tandem.switch)
    options: tuple[str, ...] = ()
    if scene.by_digest:
        await relay.open()
        uri = f"{scene.dialled}@{bracketed(*tandem.switch)}"
        options = ("-au", USER, "-ap", PASSWORD, "-auth_uri", uri, "-rsa", bracketed(HOST, door_port))
    try:
        for vendor in vendors:
            await vendor.start(keys={"trap": HOST}, timeout_s=15)
        keys = {"dialled": scene.dialled, "cli": "15551230000", "trap": HOST}
        await caller.start(keys=keys, pause_ms=scene.talk_ms, timeout_s=15, options=options)
        codes = await asyncio.gather(*(sipp.wait() for sipp in (caller, *vendors)))
    finally:
        for sipp in (caller, *vendors):
            sipp.stop()
        await relay.close()
    return [
        f"{sipp.scenario} ended with {code}: {sipp.errors()}"
        for sipp, code in zip((caller, *vendors), codes, strict=True)
        if code
    ]


def faults_of(scene: Scene, cdr: dict[str, Any]) -> list[str]:
    """How the CDR, as the API shows it, differs from what must be in it."""
    tries = tuple((attempt["provider"], attempt["status"]) for attempt in cdr["attempts"])
    wanted: dict[str, Any] = {"cause": scene.cause, "status": scene.status, "net": Decimal(0), "cost": Decimal(0)}
    faults = [] if tries == scene.tries else [f"attempts are {tries}"]
    if scene.status == 200:
        if not scene.talk_ms - 50 <= cdr["duration_ms"] <= scene.talk_ms + 700:
            faults.append(f"it lasted {cdr['duration_ms']} ms")
        sell = prices.find(example_prices("sell.csv"), LONDON)
        buy = prices.find(example_prices(BUY_LISTS[scene.tries[-1][0]]), LONDON)
        sold = prices.charge(sell, cdr["duration_ms"], Decimal(0))
        bought = prices.charge(buy, cdr["duration_ms"], Decimal(0))
        wanted |= {
            "net": sold.net,
            "gross": sold.gross,
            "billed_s": sold.billed_s,
            "cost": bought.net,
            "margin": sold.net - bought.net,
            "destination": sell.name,
        }
    for name, want in wanted.items():
        got = Decimal(cdr[name]) if isinstance(want, Decimal) else cdr[name]
        if got != want:
            faults.append(f"{name} is {got}, not {want}")
    return faults


def show_cdrs(cdrs: list[dict[str, Any]], console: Console) -> None:
    table = Table(
        "dialled", "destination", "cause", "status", "talked", "billed", "attempts", "net", "cost", "margin",
        title="CDRs, as GET /api/v1/cdrs has them",
    )  # fmt: skip
    for cdr in cdrs:
        tries = ", ".join(f"{attempt['provider']} {attempt['status']}" for attempt in cdr["attempts"])
        seconds = f"{cdr['duration_ms'] / 1000:.3f} s" if cdr["duration_ms"] else "-"
        money = [cdr["net"], cdr["cost"], cdr["margin"]]
        table.add_row(
            cdr["dialled_in"], cdr["destination"] or "-", cdr["cause"], str(cdr["status"]), seconds,
            f"{cdr['billed_s']} s" if cdr["billed_s"] else "-", tries or "-", *money,
        )  # fmt: skip
    console.print(table)


def show_balances(customers: list[dict[str, Any]], console: Console) -> None:
    """Of customers that have one."""
    with_balance = [customer for customer in customers if "balance" in customer]
    if not with_balance:
        return
    table = Table("customer", "balance", "currency", title="Balances, as GET /api/v1/customers has them")
    for customer in with_balance:
        table.add_row(customer["name"], str(customer["balance"]), customer["currency"])
    console.print(table)


async def run(folder: Path, console: Console) -> int:
    began = time.monotonic()
    tandem = WholeTandem(folder)
    faults: list[str] = []
    try:
        console.print("starting a fresh Tandem with the example data …")
        await tandem.start()
        console.print(f"SIP at {HOST}:{tandem.sip_port}, API at http://{HOST}:{tandem.api_port}")
        for number, scene in enumerate(SCENES, 1):
            console.print(f"[bold]{number}.[/bold] {scene.title}: {scene.dialled}")
            faults += await play(scene, tandem, folder / f"call{number}")
        cdrs = await tandem.cdrs(len(SCENES))
        show_cdrs(cdrs, console)
        show_balances(tandem.get("/customers")["items"], console)
        if len(cdrs) != len(SCENES):
            faults.append(f"{len(cdrs)} CDRs for {len(SCENES)} calls")
        for scene, cdr in zip(SCENES, cdrs, strict=False):
            faults += [f"{scene.title}: {fault}" for fault in faults_of(scene, cdr)]
    except TandemFailed as error:
        faults.append(str(error))
    finally:
        code = await tandem.stop()
    if code:
        faults.append(f"tandem ended with {code}:\n{tandem.log()[-2000:]}")
    for fault in faults:
        console.print(f"[red]wrong:[/red] {fault}", highlight=False)
    if not faults:
        console.print(f"[green]all {len(SCENES)} as they should be[/green], in {time.monotonic() - began:.0f} s")
    return 1 if faults else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave the folder, and say where it is")
    arguments = parser.parse_args()
    console = Console(width=150) if not sys.stdout.isatty() else Console()
    folder = Path(tempfile.mkdtemp(prefix="tandem-demo-"))
    try:
        return asyncio.run(run(folder, console))
    finally:
        if arguments.keep:
            console.print(f"left in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
