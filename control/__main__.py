"""`python -m control --settings FILE [--data DIR] [--example]`: the control process alone.

`tandem run` starts it beside the switch. Exit status 2 means a mistake that no restart mends.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import uvloop

from config.settings import SettingsError, data_folder, load_settings
from control import logs
from control.app import ControlPlane, StartError

EXIT_MISTAKE = 2
NICENESS = 5
"""Calls go first: a second's worth of CDRs stored in one go must not keep the switch from the processor."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m control")
    parser.add_argument("--settings", type=Path, required=True, help="settings file (TOML)")
    parser.add_argument("--data", type=Path, help="data folder, instead of the one in the settings")
    parser.add_argument("--example", action="store_true", help="fill an empty store with the example data")
    arguments = parser.parse_args()
    try:
        settings = load_settings(arguments.settings)
        folder = arguments.data.resolve() if arguments.data else data_folder(settings, arguments.settings)
        logs.configure(settings.log)
        os.nice(NICENESS)
        os.umask(0o077)  # as `control.supervisor`, where that is not the parent
        plane = ControlPlane(settings, folder, with_example=arguments.example)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(plane.run())
    except (SettingsError, StartError) as error:
        print(f"tandem: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    return 0


if __name__ == "__main__":
    sys.exit(main())
