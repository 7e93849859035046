"""The work that both proxies get: a seeded deck of prefixes and numbers to dial under them."""

from __future__ import annotations

import csv
import random
from pathlib import Path

TECH_PREFIX = "1234"
PREFIXES = 50_000
NUMBERS = 20_000
NUMBER_DIGITS = 12


def make_prefixes(count: int, seed: int = 7) -> list[tuple[str, str]]:
    """`count` different prefixes of 2 to 9 digits, each with a price per minute of four decimals."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        digits = rng.randint(2, 9)
        prefix = str(rng.randint(10 ** (digits - 1), 10**digits - 1))
        found.setdefault(prefix, f"{rng.randint(1, 999) / 10_000:.4f}")
    return sorted(found.items())


def write_deck(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("prefix", "name", "rate", "first_s", "next_s"))
        writer.writerows((prefix, f"Area {prefix}", rate, 1, 1) for prefix, rate in rows)


def write_numbers(path: Path, rows: list[tuple[str, str]], seed: int = 8) -> None:
    """Numbers of `NUMBER_DIGITS` digits, each under a prefix of the deck, as SIPp's -inf reads them."""
    rng = random.Random(seed)
    with path.open("w") as file:
        file.write("SEQUENTIAL\n")
        for _ in range(NUMBERS):
            prefix = rng.choice(rows)[0]
            tail = "".join(rng.choices("0123456789", k=NUMBER_DIGITS - len(prefix)))
            file.write(f"{prefix}{tail};\n")
