"""The settings file: what it may say, what it is told when it says something else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

import config
from config.settings import Settings, SettingsError, data_folder, load_settings

EXAMPLE = Path(config.__file__).parent / "example" / "tandem.toml"


def write(folder: Path, text: str) -> Path:
    path = folder / "tandem.toml"
    path.write_text(text)
    return path


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "")) == Settings()


def test_the_data_folder_is_relative_to_the_settings_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'data = "kept"')
    assert data_folder(load_settings(path), path) == tmp_path / "kept"


def test_files_of_roots_are_beside_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("")
    settings = load_settings(write(tmp_path, '[events]\nca_file = "root.pem"\n[mail]\nca_file = "root.pem"'))
    assert settings.events.ca_file == settings.mail.ca_file == str(tmp_path / "root.pem")


def test_ports_and_listeners_can_be_chosen(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[api]\nport = 0\n[[sip.listeners]]\ntransport = "udp"\nhost = "::1"\nport = 15060\n',
    )
    settings = load_settings(path)
    assert settings.api.port == 0
    assert [(each.transport, each.host, each.port) for each in settings.sip.listeners] == [("udp", "::1", 15060)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour = 1", "unknown field `colour`"),
        ("[api]\nhots = ''", "$.api"),
        ("[api]\nport = 'x'", "$.api.port"),
        ("[api]\nport = 70000", "$.api.port"),
        ("drain_s = -1.0", "$.drain_s"),
        ("[limits]\ncalls_max = 0", "$.limits.calls_max"),
        ("[[sip.listeners]]\ntransport = 'sctp'\nhost = '::1'", "$.sip.listeners[0].transport"),
        ("[[sip.listeners]]\ntransport = 'udp'\nhost = 'here'", "not an address literal"),
        ("[[sip.listeners]]\ntransport = 'tls'\nhost = '::1'", "$.tls.certificate"),
        ("[sip]\nlisteners = []", "at least one"),
        ("[sip]\nrealm = 'a\"b'", "$.sip.realm"),
        ("[sip]\ndigest_algorithms = []", "$.sip.digest_algorithms"),
        ("[sip]\ndigest_algorithms = ['SHA-1']", "$.sip.digest_algorithms[0]"),
        ("[events]\nca_file = 'none.pem'", "$.events.ca_file"),
        ("[mail]\nca_file = 'none.pem'", "$.mail.ca_file"),
        (
            "[[sip.listeners]]\ntransport = 'tcp'\nhost = '::1'\n[[sip.listeners]]\ntransport = 'tls'\nhost = '::1'\n"
            "[tls]\ncertificate = 'c'\nprivate_key = 'k'",
            "$.sip.listeners[1]",
        ),
        ("[liveness]\nkeepalive_failures = 5", "$.liveness.keepalive_failures"),
        ("not toml", "tandem.toml"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "none.toml")


def test_the_example_loads() -> None:
    settings = load_settings(EXAMPLE)
    assert settings.sip.allow_loopback
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 8080)


def test_the_example_shows_every_setting() -> None:
    shown = tomllib.loads(EXAMPLE.read_text())
    missing = list(unmentioned(Settings(), shown, "$"))
    assert not missing


def test_the_example_shows_the_defaults_but_where_it_says_otherwise() -> None:
    assert sorted(changed(Settings(), load_settings(EXAMPLE), "$")) == [
        "$.billing.seller_name",
        "$.data",
        "$.sip.allow_loopback",
    ]


def unmentioned(value: msgspec.Struct, shown: dict[str, Any], path: str) -> list[str]:
    """Paths of settings that `shown` leaves out; of lists, the first item stands for all."""
    found = []
    for name in value.__struct_fields__:
        here = f"{path}.{name}"
        if name not in shown:
            found.append(here)
            continue
        inner: Any = getattr(value, name)
        items: Any = shown[name]
        if isinstance(inner, tuple) and inner:
            inner, items = inner[0], items[0]
        if isinstance(inner, msgspec.Struct):
            found += unmentioned(inner, items, here)
    return found


def changed(value: msgspec.Struct, other: msgspec.Struct, path: str) -> list[str]:
    """Paths where the two differ."""
    found = []
    for name in value.__struct_fields__:
        mine, theirs = getattr(value, name), getattr(other, name)
        if isinstance(mine, msgspec.Struct):
            found += changed(mine, theirs, f"{path}.{name}")
        elif mine != theirs:
            found.append(f"{path}.{name}")
    return found
