from datetime import UTC, datetime

from threatwalk.archive import database
from threatwalk.archive.ledger import By, Ledger

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


def ledger() -> Ledger:
    return Ledger(database.engine("sqlite://"), lambda: MOMENT)


def test_a_move_is_open_until_it_is_closed() -> None:
    book = ledger()
    number = book.write(
        who="ann", by=By.GATE, from_version=None, to_version=1, policy="threatwalk", reason="passes"
    )
    (before,) = book.moves()
    book.close_move(number)
    (after,) = book.moves()

    assert (before.done, after.done) == (False, True)
    assert (after.who, after.by, after.from_version, after.to_version, after.at) == (
        "ann",
        By.GATE,
        None,
        1,
        MOMENT,
    )


def test_only_an_open_move_can_be_struck_out() -> None:
    book = ledger()
    kept = book.write(who="a", by=By.HAND, from_version=1, to_version=2, policy="p", reason="", done=True)
    struck = book.write(who="a", by=By.GATE, from_version=2, to_version=3, policy="p", reason="")
    book.drop(kept)
    book.drop(struck)

    assert [move.id for move in book.moves()] == [kept]


def test_what_a_hand_moved_is_entered_once_and_never_while_a_move_is_under_way() -> None:
    book = ledger()
    for _ in range(2):
        book.by_hand(lambda: (2, "p"), "seen")
    book.by_hand(lambda: None, "there is no champion")
    under_way = book.write(who="a", by=By.GATE, from_version=2, to_version=3, policy="p", reason="")
    book.by_hand(lambda: (4, "p"), "seen too early")
    book.close_move(under_way)
    book.by_hand(lambda: (4, "p"), "seen")

    moves = [(move.by, move.from_version, move.to_version, move.done) for move in book.moves()]
    assert moves == [(By.HAND, None, 2, True), (By.GATE, 2, 3, True), (By.HAND, 3, 4, True)]
