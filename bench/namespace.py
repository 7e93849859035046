"""A network of one's own: the comparison uses fixed SIP ports and must never meet other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

INSIDE = "TANDEM_BENCH_NETWORK"


def enter_own_network() -> None:
    """Start this program again in an unnamed network namespace, which goes when it goes.

    Returns at once inside; otherwise it does not return. Needs root, or a kernel that lets users
    make namespaces; without either it says so and exits with 2.
    """
    if os.environ.get(INSIDE) == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--net", *as_root, "--"]
    if subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        print(
            "The bench needs a network namespace of its own and this user may not make one: run it as root.",
            file=sys.stderr,
        )
        sys.exit(2)
    os.environ[INSIDE] = "1"
    program = [sys.executable, str(Path(sys.argv[0]).resolve()), *sys.argv[1:]]
    os.execvp(command[0], [*command, *program])
