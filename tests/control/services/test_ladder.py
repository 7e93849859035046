"""The ladder is a drawing whatever is written into it."""

from __future__ import annotations

import xml.dom.minidom

from hypothesis import example, given
from hypothesis import strategies as st

from control.services.ladder import ROWS_MAX, Arrow, Party, ladder_svg


def arrow(label: str = "INVITE", source: int = 0, target: int = 1, *, is_again: bool = False) -> Arrow:
    return Arrow(source, target, label, "08:00:00.000001", 12.5, "request", is_again)


ANY = st.text(max_size=60)


@given(title=ANY, name=ANY, address=ANY, label=ANY, note=ANY)
@example("<script>alert(1)</script>", "\"'><svg onload=alert(1)>", "&#x3c;b&#x3e;", "]]>\x00\x1b\ud800\ufffe", "<!--")
def test_whatever_peers_write_is_text_in_it(title: str, name: str, address: str, label: str, note: str) -> None:
    picture = ladder_svg(title, [Party(name, address), Party("Tandem", "")], 1, [arrow(label)], note)
    plain = ladder_svg("a", [Party("b", "c"), Party("Tandem", "")], 1, [arrow("d")], "e")
    found, wanted = (xml.dom.minidom.parseString(each.encode()) for each in (picture, plain))
    shape = [(each.tagName, sorted(each.attributes.keys())) for each in found.getElementsByTagName("*")]
    known = [(each.tagName, sorted(each.attributes.keys())) for each in wanted.getElementsByTagName("*")]
    assert shape == known or not note


def test_each_message_is_an_arrow_and_a_repeated_one_says_so() -> None:
    parties = [Party("Acme", "192.0.2.10:5060"), Party("Tandem", ""), Party("One", "198.51.100.1:5060")]
    picture = ladder_svg("t", parties, 1, [arrow(), arrow(is_again=True), arrow("200 OK", 2, 1)])
    assert picture.count("marker-end=") == 3
    assert picture.count("INVITE (again)") == 1
    assert "+0.013 s" in picture or "+0.012 s" in picture


def test_a_call_of_thousands_of_messages_is_cut_and_says_how_many_are_left_out() -> None:
    picture = ladder_svg("t", [Party("a", "b"), Party("c", "")], 1, [arrow()] * (ROWS_MAX + 7))
    assert picture.count("marker-end=") == ROWS_MAX
    assert "7 more messages" in picture


def test_a_call_without_messages_says_so() -> None:
    assert "No message of this call is kept" in ladder_svg("t", [Party("a", "b"), Party("c", "")], 1, [])
