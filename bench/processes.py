"""What a process and everything that it started cost: processor time and memory, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name, which may hold blanks and brackets itself."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def family(root: int) -> list[int]:
    """`root` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            parent = int(_stat_fields(int(path.name))[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def processor_time_us(root: int) -> tuple[float, float]:
    """User and system time of the family so far, with that of children who have ended."""
    user = system = 0.0
    for pid in family(root):
        try:
            fields = _stat_fields(pid)
        except OSError:
            continue
        user += (int(fields[11]) + int(fields[13])) * TICK_US
        system += (int(fields[12]) + int(fields[14])) * TICK_US
    return user, system


def parts_us(root: int) -> dict[str, float]:
    """User and system time so far of each living process of the family, by what it is."""
    found: dict[str, float] = {}
    for pid in family(root):
        try:
            fields = _stat_fields(pid)
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            continue
        name = words[words.index("-m") + 1] if "-m" in words[:-1] and "python" in words[0] else Path(words[0]).name
        found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) * TICK_US
    return found


def memory_mb(root: int) -> float:
    """Proportional set size of the family: memory that its processes share counts once."""
    total_kb = 0
    for pid in family(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total_kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kb / 1024
