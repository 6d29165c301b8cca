"""A run's files, whole and as server-sent events, while they grow."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

from control_harness import Daemon

from trainerd.contracts.json_lines import JsonLinesWriter
from trainerd.contracts.states import State
from trainerd.worker.log_rotation import limit_log


def test_a_file_is_read_whole_without_its_torn_last_line(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.directory(run_id).events.write_bytes(b'{"event": "admitted"}\n{"event": "sta')
    daemon.supervisor.directory(run_id).log.write_bytes(b"one\ntwo")

    events, log = daemon.client.get(f"/v1/runs/{run_id}/events"), daemon.client.get(f"/v1/runs/{run_id}/log")

    assert (events.headers["content-type"], events.body) == ("application/jsonl", b'{"event": "admitted"}\n')
    assert (log.headers["content-type"], log.body) == ("text/plain; charset=utf-8", b"one\ntwo")
    assert daemon.client.get(f"/v1/runs/{run_id}/metrics").body == b"", "nothing has been measured yet"


def test_lines_arrive_while_the_file_grows_and_end_when_the_run_has_settled(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.start_run(run_id)
    metrics = JsonLinesWriter(daemon.supervisor.directory(run_id).metrics)

    with daemon.client.stream(f"/v1/runs/{run_id}/metrics") as stream:
        for step in (1, 2, 3):
            metrics.append({"step": step})
            message = next(stream)
            assert (message["event"], json.loads(message["data"])["step"]) == ("metrics", step)
            assert int(message["id"]) == _size(metrics.path)
        metrics.append({"step": 4})
        daemon.supervisor.move(run_id, state=State.COMPLETED)
        *rest, end = list(stream)

    assert [json.loads(message["data"])["step"] for message in rest] == [4]
    assert (end["event"], json.loads(end["data"])["state"]) == ("end", "completed")


def test_a_reader_goes_on_behind_the_line_that_it_saw_last(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.start_run(run_id)
    metrics = JsonLinesWriter(daemon.supervisor.directory(run_id).metrics)
    metrics.append({"step": 1}, {"step": 2}, {"step": 3})
    with daemon.client.stream(f"/v1/runs/{run_id}/metrics") as stream:
        *_, last = islice(stream, 2)

    metrics.append({"step": 4})
    with daemon.client.stream(f"/v1/runs/{run_id}/metrics", last["id"]) as stream:
        seen = [json.loads(message["data"])["step"] for message in islice(stream, 2)]
        metrics.append({"step": 5})
        seen.append(json.loads(next(stream)["data"])["step"])

    assert seen == [3, 4, 5]


def test_a_torn_line_is_neither_shown_nor_lost_nor_repeated(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.start_run(run_id)
    path = daemon.supervisor.directory(run_id).events
    path.write_bytes(b'{"event": "started"}\n{"event": "fir')

    with daemon.client.stream(f"/v1/runs/{run_id}/events") as stream:
        assert next(stream)["data"] == '{"event": "started"}'
        JsonLinesWriter(path).append({"event": "ended"})  # the next writer cuts the torn line
        assert next(stream)["data"] == '{"event": "ended"}'
        daemon.supervisor.move(run_id, state=State.FAILED)
        assert [message["event"] for message in stream] == ["end"]


def test_an_id_that_is_not_of_this_stream_is_refused(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    streaming = {"Accept": "text/event-stream"}

    for what, last_event_id in [
        ("events", "x"),
        ("events", "999999"),
        ("follow", "5"),
        ("log", "-1"),
        ("metrics", "1.2"),
    ]:
        reply = daemon.client.get(f"/v1/runs/{run_id}/{what}", **streaming, **{"Last-Event-ID": last_event_id})
        assert reply.problem() == (400, "usage"), what
        assert last_event_id in reply.json()["detail"]


def test_the_log_comes_in_whole_lines_and_at_the_end_with_what_is_left(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.start_run(run_id)
    path = daemon.supervisor.directory(run_id).log
    path.write_bytes(b"epoch 1\nepo")

    with daemon.client.stream(f"/v1/runs/{run_id}/log") as stream:
        assert json.loads(next(stream)["data"]) == "epoch 1\n"
        with path.open("ab") as log:
            log.write(b"ch 2\nSegmentation fault \xff")
        assert json.loads(next(stream)["data"]) == "epoch 2\n"
        daemon.supervisor.move(run_id, state=State.FAILED)
        rest, end = list(stream)

    assert json.loads(rest["data"]) == "Segmentation fault �"
    assert (int(rest["id"]), end["event"]) == (_size(path), "end")


def test_a_log_that_is_cut_goes_on_from_its_start_and_names_what_came_before(daemon: Daemon) -> None:
    """Also for a reader that comes back after it has seen more than the log now holds."""
    run_id = daemon.submitted()
    daemon.supervisor.start_run(run_id)
    directory = daemon.supervisor.directory(run_id)
    directory.log.write_bytes(b"before\n" * 1000)
    with daemon.client.stream(f"/v1/runs/{run_id}/log") as stream:
        seen = next(event for event in stream if int(event["id"]) == _size(directory.log))  # all of it

        limit_log(directory, limit_bytes=1000)

        cut, said = islice(stream, 2)
    with daemon.client.stream(f"/v1/runs/{run_id}/log", seen["id"]) as stream:
        again = list(islice(stream, 2))

    assert (cut["event"], json.loads(cut["data"])) == ("cut", {"older": str(directory.older_log)})
    assert json.loads(said["data"]) == directory.log.read_text()
    assert again == [cut, said]


def test_following_shows_the_run_its_points_and_its_events_until_the_end(daemon: Daemon) -> None:
    run_id = daemon.submitted("followed")
    directory = daemon.supervisor.directory(run_id)

    with daemon.client.stream(f"/v1/runs/{run_id}/follow") as stream:
        assert _state(next(stream)) == "queued"
        pulse = daemon.supervisor.start_run(run_id)
        assert _state(next(stream)) == "running"
        pulse.beat(17)
        assert any(message["event"] == "run" and json.loads(message["data"])["step"] == 17 for message in stream)
        JsonLinesWriter(directory.metrics).append({"step": 17})
        JsonLinesWriter(directory.events).append({"event": "epoch"})
        daemon.supervisor.move(run_id, state=State.COMPLETED)
        rest = list(stream)

    assert [message["data"] for message in rest if message["event"] == "metrics"] == ['{"step": 17}']
    assert [message["data"] for message in rest if message["event"] == "event"] == ['{"event": "epoch"}']
    assert rest[-1]["event"] == "end"
    assert json.loads(rest[-1]["data"]).keys() >= {"checkpoints", "spec"}
    assert _state({**rest[-1], "event": "run"}) == "completed"
    assert "completed" not in [_state(message) for message in rest if message["event"] == "run"], "told too early"
    assert rest[-2]["id"] == f"{_size(directory.events)}.{_size(directory.metrics)}"


def test_following_goes_on_behind_both_offsets(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    directory = daemon.supervisor.directory(run_id)
    JsonLinesWriter(directory.metrics).append({"step": 1}, {"step": 2})
    JsonLinesWriter(directory.events).append({"event": "started"}, {"event": "ended"})
    daemon.supervisor.move(run_id, state=State.COMPLETED)
    with daemon.client.stream(f"/v1/runs/{run_id}/follow") as stream:
        whole = list(stream)
    seen = whole[2]  # two points, then the first event

    with daemon.client.stream(f"/v1/runs/{run_id}/follow", seen["id"]) as stream:
        rest = list(stream)

    assert [message["event"] for message in whole] == ["metrics", "metrics", "event", "event", "end"], (
        "that the run has settled is the last word"
    )
    assert [message["data"] for message in rest if message["event"] in ("event", "metrics")] == ['{"event": "ended"}']


def test_a_settled_run_is_noticed_even_if_the_datagram_is_lost(daemon: Daemon) -> None:
    run_id = daemon.submitted()
    daemon.supervisor.start_run(run_id)

    with daemon.client.stream(f"/v1/runs/{run_id}/events") as stream:
        daemon.supervisor.move(run_id, silently=True, state=State.STOPPED)
        assert [message["event"] for message in stream] == ["end"]


def _size(path: Path) -> int:
    return path.stat().st_size


def _state(message: dict[str, str]) -> str:
    assert message["event"] == "run"
    state: str = json.loads(message["data"])["state"]
    return state
