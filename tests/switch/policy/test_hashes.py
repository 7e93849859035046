"""The published digest vectors.

RFC 8760 publishes none: its examples show challenges, and its arithmetic is that of RFC 7616.
"""

from __future__ import annotations

import pytest

from switch.policy.hashes import ALGORITHMS, digest_response, hash_hex, make_ha1


def test_rfc_2617_section_3_5() -> None:
    ha1 = make_ha1("MD5", "Mufasa", "testrealm@host.com", "Circle Of Life")
    assert ha1 == "939e7578ed9e3c518a452acee763bce9"
    response = digest_response(
        "MD5", ha1, b"GET", b"/dir/index.html", b"dcd98b7102dd2f0e8b11d0f600bfb0c093", b"00000001", b"0a4f113b"
    )
    assert response == "6629fae49393a05397450978507c4ef1"


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_section_3_9_1(algorithm: str, expected: str) -> None:
    ha1 = make_ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
    response = digest_response(
        algorithm,
        ha1,
        b"GET",
        b"/dir/index.html",
        b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        b"00000001",
        b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert response == expected


def test_rfc_7616_section_3_9_2_as_erratum_4897_has_it() -> None:
    # The RFC's own figure was made with a truncated SHA-512, which is not SHA-512/256.
    ha1 = make_ha1("SHA-512-256", "Jäsøn Doe", "api@example.org", "Secret, or not?")
    response = digest_response(
        "SHA-512-256",
        ha1,
        b"GET",
        b"/doe.json",
        b"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        b"00000001",
        b"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
    )
    assert response == "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"


def test_the_hashes_of_nothing_are_the_known_ones() -> None:
    assert hash_hex("MD5", b"") == "d41d8cd98f00b204e9800998ecf8427e"
    assert hash_hex("SHA-256", b"").startswith("e3b0c44298fc1c149afbf4c8996fb924")
    # FIPS 180-4: the truncated prefix of SHA-512("") would begin cf83e135.
    assert hash_hex("SHA-512-256", b"").startswith("c672b8d1ef56ed28ab87c3622c511406")


def test_strongest_first() -> None:
    assert ALGORITHMS == ("SHA-512-256", "SHA-256", "MD5")
    with pytest.raises(KeyError):
        hash_hex("MD4", b"")
