"""docs/operations.md, "Orders": the table is the one that the daemon goes by."""

from __future__ import annotations

from documents import PROJECT

from trainerd.contracts.states import ORDERS, State, Verb


def test_the_table_of_orders_is_the_table_that_the_daemon_goes_by() -> None:
    shown: dict[Verb, dict[State, str]] = {verb: {} for verb in Verb}
    verb = None
    for order, states, leads_to in rows():
        verb = Verb(order.strip("`")) if order else verb
        assert verb is not None
        for state in states.split(", "):
            next_state = leads_to.partition(", then ")[0]
            shown[verb][State(state)] = state if ", " in next_state or next_state == "gone" else next_state

    assert shown == ORDERS


def rows() -> list[list[str]]:
    """(order, states, where it leads) of each row."""
    section = (PROJECT / "docs/operations.md").read_text().partition("## Orders")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")[:3]] for line in lines]
