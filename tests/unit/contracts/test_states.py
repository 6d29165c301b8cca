"""The table of orders is what design and documentation say it is, and nothing else decides legality."""

import pytest

from trainerd.contracts.states import ACTIVE, ENDED, LIVE, ORDERS, State, Verb, explain_refusal, legal_verbs, next_state


@pytest.mark.parametrize(
    ("verb", "state", "expected"),
    [
        (Verb.PAUSE, State.QUEUED, State.HELD),
        (Verb.PAUSE, State.RUNNING, State.PAUSING),
        (Verb.RESUME, State.STOPPED, State.QUEUED),
        (Verb.RESUME, State.COMPLETED, None),
        (Verb.STOP, State.QUEUED, State.CANCELLED),
        (Verb.STOP, State.RUNNING, State.STOPPING),
        (Verb.STOP, State.INTERRUPTED, State.STOPPED),
        (Verb.STOP, State.COMPLETED, None),
        (Verb.CANCEL, State.RUNNING, None),
        (Verb.CANCEL, State.HELD, State.CANCELLED),
        (Verb.RETRY, State.FAILED, State.QUEUED),
    ],
)
def test_a_verb_leads_where_the_table_says(verb: Verb, state: State, expected: State | None) -> None:
    assert next_state(verb, state) is expected


def test_an_ended_run_never_lives_again_but_by_resume_retry_or_removal() -> None:
    for state in ENDED:
        assert set(legal_verbs(state)) <= {Verb.RESUME, Verb.RETRY, Verb.REMOVE}


def test_every_state_can_be_left_by_some_order() -> None:
    assert all(legal_verbs(state) for state in State)


def test_what_a_verb_without_an_id_may_mean_includes_every_living_run() -> None:
    assert LIVE < ACTIVE
    assert not ACTIVE & ENDED


def test_a_refusal_names_the_state_and_what_is_legal_instead() -> None:
    message = explain_refusal(Verb.CANCEL, "7", State.RUNNING)
    assert message == "cannot cancel run 7: it is running; legal now: pause, checkpoint, stop, kill"
    assert "trainctl retry --from-start 7" in explain_refusal(Verb.RESUME, "7", State.COMPLETED)


def test_every_verb_is_in_the_table() -> None:
    assert set(ORDERS) == set(Verb)
