"""Admin keys: made once, shown once, and never down to none."""

from __future__ import annotations

import stat

from sqlalchemy import update

from control.services.admin_keys import authenticate, ensure_first_key
from control.store import tables
from tests.fakes.control import ControlPlane, with_control


@with_control
async def test_a_key_is_shown_when_it_is_made_and_never_again(plane: ControlPlane) -> None:
    made = await plane.post("/admin-keys", {"name": "Robot", "role": "operator"})
    assert made["key"].startswith("tandem_")
    assert made["key"].endswith(made["hint"])
    actor = await authenticate(plane.ctx, made["key"])
    assert actor is not None
    assert (actor.name, actor.role, actor.id) == ("Robot", "operator", made["id"])
    for shown in (await plane.get("/admin-keys"), await plane.get("/audit")):
        assert made["key"] not in str(shown)
        assert "key_hash" not in str(shown)


@with_control
async def test_the_last_admin_key_stays(plane: ControlPlane) -> None:
    keys = (await plane.get("/admin-keys?role=admin"))["items"]
    only = keys[0]["id"]
    await plane.delete(f"/admin-keys/{only}", status=409)
    await plane.patch(f"/admin-keys/{only}", {"role": "operator"}, status=409)
    await plane.patch(f"/admin-keys/{only}", {"expires_at": "2030-01-01T00:00:00Z"}, status=409)
    await plane.post("/admin-keys", {"name": "Spare", "role": "admin"})
    await plane.delete(f"/admin-keys/{only}")
    await plane.get("/admin-keys", status=401)


@with_control
async def test_bad_keys_are_refused_by_their_fields(plane: ControlPlane) -> None:
    for body, path in (
        ({"name": "x", "role": "root"}, "role"),
        ({"name": "x"}, "role"),
        ({"role": "admin"}, "name"),
        ({"name": "x", "role": "admin", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "role": "admin", "key": "mine"}, "key"),
    ):
        problem = await plane.post("/admin-keys", body, status=400)
        assert problem["errors"][0]["path"] == path
    await plane.post("/admin-keys", {"name": "TEST Admin", "role": "admin"}, status=409)


@with_control
async def test_the_first_key_is_written_once_for_its_owner_alone(plane: ControlPlane) -> None:
    path = plane.folder / "admin.key"
    assert await ensure_first_key(plane.ctx, path) is False, "there is an admin key already"
    assert not path.exists()
    async with plane.store.begin() as tx:
        await tx.execute(update(tables.admin_keys).values(archived_ms=1))
    path.with_name("admin.key.new").write_text("left by a crash")
    assert await ensure_first_key(plane.ctx, path) is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    actor = await authenticate(plane.ctx, path.read_text().strip())
    assert actor is not None
    assert actor.role == "admin"
    assert await ensure_first_key(plane.ctx, path) is False
