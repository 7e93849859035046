"""Builds the package; compiles the message path with mypyc where a C compiler is present.

`TANDEM_COMPILE=0` leaves everything interpreted. The sources are the same either way: a compiled
module lies beside its `.py` as a shared object and Python prefers it.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import setup

COMPILED = ("rating", "switch/wire", "switch/transaction", "switch/call", "switch/policy")
COMPILED_NAMES = (
    *("accounts", "admission", "answering", "billed", "bindings", "board", "cdr", "datagrams", "engine"),
    *("farewells", "inbound"),
    *(
        "inbound_simulation",
        "journal_read",
        "live_rows",
        "pings",
        "probing",
        "pump",
        "quick_answers",
        "quote_facts",
        "recovered",
    ),
    *("registrar", "restoring", "ring", "routed", "screening", "segments", "tap", "udp", "waiting"),
)
COMPILED_FILES = tuple(f"switch/{name}.py" for name in COMPILED_NAMES)
LEFT_OUT = {"switch/policy/causes.py"}
"""Enums alone: nothing to gain."""
METADATA_ONLY = {"egg_info", "dist_info", "--version", "clean", "sdist"}


def holds_structs(path: Path) -> bool:
    """mypyc drops the keywords of a class statement: a compiled `Struct, frozen=True` is not frozen.

    So modules that declare structs stay interpreted; making one costs the same either way.
    """
    return "(msgspec.Struct" in path.read_text()


def sources() -> list[str]:
    found = [path for folder in COMPILED for path in sorted(Path(folder).glob("*.py"))]
    found += [path for path in map(Path, COMPILED_FILES) if path.exists()]
    found = [path for path in found if path.name != "__init__.py" and str(path) not in LEFT_OUT]
    return [str(path) for path in found if not holds_structs(path)]


def obstacle() -> str:
    """Why this machine cannot compile, or nothing."""
    if os.environ.get("TANDEM_COMPILE", "1") == "0":
        return "TANDEM_COMPILE=0"
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"no C compiler here ({compiler})"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "no Python headers here (python3-dev)"
    return ""


def extensions() -> list[object]:
    if METADATA_ONLY.intersection(sys.argv[1:]):
        return []
    if reason := obstacle():
        print(f"tandem: left interpreted: {reason}", file=sys.stderr)
        return []
    from mypyc.build import mypycify

    names = sources()
    print(f"tandem: compiling {len(names)} modules", file=sys.stderr)
    # Native ints and the rest of mypy's settings come from pyproject.toml. Everything is one group,
    # so that calls between modules are calls in C; -O2 is as quick as -O3 here and builds sooner.
    found = list(mypycify(names, opt_level="2", debug_level="0", group_name="tandem"))
    for extension in found:
        # Python's own functions are called by the million: straight, not by way of a stub each.
        extension.extra_compile_args.append("-fno-plt")
    return found


setup(ext_modules=extensions())
