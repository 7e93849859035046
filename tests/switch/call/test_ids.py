from random import Random

from switch.call.ids import POOL_BYTES, Ids


def test_no_branch_or_tag_is_drawn_twice() -> None:
    ids = Ids(Random(1))
    drawn = [ids.branch() for _ in range(POOL_BYTES)] + [ids.tag() for _ in range(POOL_BYTES)]
    assert len(set(drawn)) == len(drawn)


def test_digits_are_given_out_once_however_they_are_cut() -> None:
    ids = Ids(Random(2))
    pieces = [ids._digits(size) for size in (16, 20, 16, 7, 4_000, 96, 16)]
    assert [len(piece) for piece in pieces] == [16, 20, 16, 7, 4_000, 96, 16]
    assert b"".join(pieces[:4])[:16] != pieces[-1]


def test_a_branch_carries_the_cookie_and_64_bits() -> None:
    branch = Ids(Random(3)).branch()
    assert branch.startswith(b"z9hG4bK")
    assert len(branch) == 7 + 16
    int(branch[7:], 16)


def test_cdr_ids_are_32_digits_and_sort_by_time() -> None:
    ids = Ids(Random(4))
    drawn = [ids.cdr_id(now_ms) for now_ms in (1_700_000_000_000, 1_700_000_000_001, 1_900_000_000_000)]
    assert [len(each) for each in drawn] == [32, 32, 32]
    assert drawn == sorted(drawn)
    assert int(drawn[0][:12], 16) == 1_700_000_000_000
