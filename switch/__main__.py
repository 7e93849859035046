"""`python -m switch`: the data plane by itself, or as the parent of both planes starts it."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import uvloop

from config.settings import Listener, Settings, SettingsError, data_folder, load_settings
from switch.build import build_name
from switch.engine import Engine
from switch.garbage import collect_when_quiet, stop_collecting
from switch.logs import configure_logs
from switch.runtime import CannotStart, RunnableEngine, Runtime, wall_offset_s

EXIT_MISTAKE: Final = 2
"""No restart mends it: bad settings, a port in use."""


def main() -> int:
    """Run the switch until it is told to end; returns the exit status."""
    arguments = _parser().parse_args()
    try:
        settings = load_settings(arguments.settings) if arguments.settings else Settings()
        beside: Path = arguments.settings.resolve() if arguments.settings else Path.cwd() / "none"
        data: Path = arguments.data.resolve() if arguments.data else data_folder(settings, beside)
        configure_logs(settings.log)
        uvloop.run(_run(settings, data, beside.parent, arguments.snapshot))
    except (SettingsError, CannotStart) as error:
        print(f"switch: {error}", file=sys.stderr, flush=True)
        return EXIT_MISTAKE
    return 0


async def _run(settings: Settings, data: Path, beside: Path, snapshot: Path | None) -> None:
    runtime = Runtime(settings, data, _make_engine, beside=beside, snapshot=snapshot)
    await runtime.start()
    stop_collecting()
    collecting = asyncio.create_task(collect_when_quiet())
    print("ready", *runtime.addresses(), flush=True)
    await runtime.run()
    collecting.cancel()


def _make_engine(settings: Settings, listeners: tuple[Listener, ...], decks: Path) -> RunnableEngine:
    # The key of our nonces and all tags come from this generator. Python's own can be computed back from a few
    # hundred values that peers see; the kernel's cannot.
    return Engine(settings, listeners, random.SystemRandom(), wall_offset_s(), decks, time.monotonic())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m switch", description="Tandem's data plane.")
    parser.add_argument("--version", action="version", version=f"tandem {_release()} ({build_name()})")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="TOML; without it, the defaults")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder, over the one in the settings")
    parser.add_argument(
        "--snapshot",
        type=Path,
        metavar="FILE",
        help="configuration to run on, msgpack or .json; deck paths are relative to its folder",
    )
    return parser


def _release() -> str:
    try:
        return version("tandem")
    except PackageNotFoundError:
        return "from source"


if __name__ == "__main__":
    sys.exit(main())
