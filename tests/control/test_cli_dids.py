"""`tandem dids`: files out and in through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow


def test_numbers_go_out_and_come_in_and_a_bad_file_is_told_line_by_line(tmp_path: Path) -> None:
    tandem = Installation(tmp_path)
    try:
        tandem.start()
        tandem.api.post("/customers", {"name": "Acme"})
        file = tmp_path / "numbers.csv"
        file.write_text("number,customer,retail\n442079460777,Acme,2\n442079460778,,\n")
        assert "2 would be created" in tandem.tandem("dids", "import", str(file), "--dry-run")
        assert list(tandem.api.items("/dids")) == []
        assert json.loads(tandem.tandem("dids", "import", str(file), "--json"))["created"] == 2
        assert "2 as they are" in tandem.tandem("dids", "import", str(file))
        tandem.tandem("dids", "export", "--output", str(tmp_path / "out.csv"))
        assert len((tmp_path / "out.csv").read_text().splitlines()) == 3
        assert "442079460778" in tandem.tandem("dids", "export", "--state", "free")
        assert "442079460778" not in tandem.tandem("dids", "export", "--customer", "Acme")
        file.write_text("number,customer,retail\n020 7946,Nobody,2\n442079460779,,cheap\n")
        complaint = tandem.tandem("dids", "import", str(file), status=1)
        assert "3 mistakes; nothing was changed" in complaint
        assert f"{file}: line 3, retail: " in complaint
        assert len(list(tandem.api.items("/dids"))) == 2
    finally:
        tandem.kill()
