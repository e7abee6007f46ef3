"""What vouchers take off, without a database: the arithmetic is exact for any lines and any codes."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout.vouchers.models import Voucher, typed
from checkout.vouchers.rules import Item, Known, Reduction, reductions, shared_out

ON = dt.date(2026, 11, 22)
cents = st.integers(0, 30_000).map(lambda n: Decimal(n) / 100)


def item(key: int, price: str | Decimal, *, commune: int | None = 1, activity: int = 1, **facts: object) -> Item:
    place = {"service": activity, "profile": 1, "date": ON + dt.timedelta(30), **facts}
    return Item((key, None), Decimal(price), commune, activity=activity, **place)  # type: ignore[arg-type]


def known(number: int = 1, **fields: object) -> Known:
    scope = {
        name: fields.pop(name) for name in ("communes", "services", "activities", "profiles", "ranks") if name in fields
    }
    off = {} if "amount" in fields else {"percent": Decimal(10)}
    return Known(Voucher(pk=number, code=f"BON{number}", **(off | fields)), **scope)  # type: ignore[arg-type]


def one(voucher: Known, *items: Item, on: dt.date = ON) -> Reduction:
    (found,) = reductions([voucher], items, on=on)
    return found


class TestSharing:
    @given(st.dictionaries(st.tuples(st.integers(1, 400), st.none()), cents, max_size=40), st.data())
    def test_shares_add_up_and_none_is_more_than_its_line(
        self, weights: dict[tuple[int | None, int | None], Decimal], data: st.DataObject
    ) -> None:
        amount = Decimal(data.draw(st.integers(0, int(sum(weights.values(), Decimal(0)) * 100)))) / 100
        shares = shared_out(amount, weights)
        assert sum(shares.values(), Decimal(0)) == amount
        assert all(0 < share <= weights[key] for key, share in shares.items())
        total = sum(weights.values(), Decimal(0))
        assert all(abs(share - amount * weights[key] / total) < Decimal("0.01") for key, share in shares.items())

    def test_the_first_lines_get_the_cents_that_do_not_divide(self) -> None:
        assert shared_out(Decimal("0.02"), {(n, None): Decimal("7.90") for n in (1, 2, 3)}) == {
            (1, None): Decimal("0.01"),
            (2, None): Decimal("0.01"),
        }


vouchers = st.lists(
    st.one_of(
        st.integers(1, 10_000).map(lambda n: {"percent": Decimal(n) / 100, "amount": None}),
        st.integers(1, 20_000).map(lambda n: {"percent": None, "amount": Decimal(n) / 100}),
    ),
    max_size=5,
)


@given(vouchers, st.lists(cents, max_size=30))
def test_any_codes_on_any_lines_leave_no_line_below_zero_and_lose_no_cent(
    offs: list[dict[str, Decimal]], prices: list[Decimal]
) -> None:
    items = [item(number, price) for number, price in enumerate(prices, 1)]
    found = reductions([known(number, stackable=True, **off) for number, off in enumerate(offs, 1)], items, on=ON)
    taken = {each.key: Decimal(0) for each in items}
    for reduction in found:
        assert sum(reduction.shares.values(), Decimal(0)) == reduction.amount
        assert bool(reduction.reason) != bool(reduction.amount)
        for key, share in reduction.shares.items():
            taken[key] += share
    assert all(taken[each.key] <= each.price for each in items)


class TestWorth:
    def test_ten_percent_of_the_seeds_order(self) -> None:
        found = one(known(), *(item(number, "7.90") for number in range(4)))
        assert found.amount == Decimal("3.16") and set(found.shares.values()) == {Decimal("0.79")}

    def test_a_percentage_is_rounded_once_over_all_lines(self) -> None:
        """Line by line 10 % of 0,05 € would be 0,01 € each, 0,03 € in all."""
        assert one(known(), *(item(number, "0.05") for number in range(3))).amount == Decimal("0.02")

    def test_halves_are_rounded_up(self) -> None:
        assert one(known(percent=Decimal("12.5")), item(1, "0.20")).amount == Decimal("0.03")

    def test_euros_give_no_change(self) -> None:
        assert one(known(amount=Decimal(20)), item(1, "7.90")).amount == Decimal("7.90")

    def test_percentages_first_then_euros_whatever_was_entered_first(self) -> None:
        found = reductions(
            [known(1, amount=Decimal(5), stackable=True), known(2, percent=Decimal(50), stackable=True)],
            [item(1, "20")],
            on=ON,
        )
        assert [row.amount for row in found] == [Decimal(5), Decimal(10)]

    def test_only_the_lines_that_it_is_for(self) -> None:
        found = one(known(activities=frozenset({2})), item(1, "10"), item(2, "20", activity=2))
        assert found.shares == {(2, None): Decimal(2)}

    def test_what_rounds_to_nothing_says_so(self) -> None:
        assert one(known(percent=Decimal(1)), item(1, "0.30")).code == "nothing_left"


class TestScope:
    @pytest.mark.parametrize(
        "scope, covered",
        [
            ({}, True),
            ({"communes": {1}}, True),
            ({"communes": {2}}, False),
            ({"services": {1}}, True),
            ({"activities": {9}, "communes": {1}}, True),  # one of the places is enough
            ({"communes": {1}, "profiles": {9}}, False),  # and the situation has to be one of those named
            ({"profiles": {1}}, True),
        ],
    )
    def test_places_and_situations(self, scope: dict[str, set[int]], covered: bool) -> None:
        voucher = known(**{name: frozenset(keys) for name, keys in scope.items()})
        assert voucher.covers(item(1, "10")) is covered

    def test_a_communes_voucher_leaves_others_products_alone(self) -> None:
        assert known(commune_id=1).covers(item(1, "10"))
        assert not known(commune_id=2).covers(item(1, "10"))
        assert not known(commune_id=1).covers(item(1, "10", commune=None))

    def test_days_of_the_booking(self) -> None:
        first = ON + dt.timedelta(30)
        assert known(days_from=first, days_until=first).covers(item(1, "10", date=first))
        assert not known(days_from=first).covers(item(1, "10", date=first - dt.timedelta(1)))
        assert not known(days_until=first).covers(item(1, "10", date=first + dt.timedelta(1)))
        assert not known(days_until=first).covers(item(1, "10", date=None))  # a ticket is for no date


class TestReasons:
    @pytest.mark.parametrize(
        "fields, code, words",
        [
            ({"is_active": False}, "inactive", "plus en service"),
            ({"valid_from": ON + dt.timedelta(1)}, "not_yet", "à partir du lundi 23 novembre"),
            ({"valid_until": ON - dt.timedelta(1)}, "expired", "jusqu’au samedi 21 novembre"),
            ({"ranks": (1,), "uses_per_family": 1}, "used_by_family", "déjà utilisé ce bon."),
            ({"ranks": (1, 1), "uses_per_family": 2}, "used_by_family", "2 fois"),
            ({"max_uses": 3, "used": 3}, "used_up", "autant de fois que possible"),
            ({"activities": frozenset({9})}, "other_products", "aucun des produits"),
            ({"minimum": Decimal(20)}, "minimum", "au moins 20,00\u00a0€ : il manque 12,10\u00a0€"),
        ],
    )
    def test_one_sentence_each(self, fields: dict[str, object], code: str, words: str) -> None:
        found = one(known(**fields), item(1, "7.90"))
        assert (found.amount, found.code) == (0, code) and words in found.reason

    @pytest.mark.parametrize("fields", [{"valid_from": ON}, {"valid_until": ON}, {"minimum": Decimal("7.90")}])
    def test_the_last_day_and_the_last_cent_count(self, fields: dict[str, object]) -> None:
        assert one(known(**fields), item(1, "7.90")).amount == Decimal("0.79")

    @pytest.mark.parametrize("first, second", [(False, False), (True, False), (False, True)])
    def test_what_does_not_combine_stands_alone(self, first: bool, second: bool) -> None:
        found = reductions([known(1, stackable=first), known(2, stackable=second)], [item(1, "10")], on=ON)
        assert [row.code for row in found] == ["", "not_stackable"] and "BON1" in found[1].reason

    def test_one_that_does_not_apply_keeps_nobody_out(self) -> None:
        found = reductions([known(1, minimum=Decimal(50)), known(2)], [item(1, "10")], on=ON)
        assert [row.amount for row in found] == [0, 1]

    def test_after_a_voucher_that_pays_all_nothing_is_left(self) -> None:
        found = reductions(
            [known(1, percent=Decimal(100), stackable=True), known(2, stackable=True)], [item(1, "10")], on=ON
        )
        assert [row.amount for row in found] == [10, 0] and "couvrent déjà" in found[1].reason


def test_the_smallest_free_rank() -> None:
    assert [known(ranks=ranks).next_rank for ranks in ([], [1], [2], [1, 2])] == [1, 2, 1, 3]


@pytest.mark.parametrize("text, code", [("rentree10", "RENTREE10"), (" Rentree 10 ", "RENTREE10"), ("a-b", "A-B")])
def test_a_code_however_it_is_typed(text: str, code: str) -> None:
    assert typed(text) == code
