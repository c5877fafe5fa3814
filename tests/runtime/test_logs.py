"""Logs: one line an event, bounded, whatever a peer or a reader does."""

import json
import threading
from io import StringIO

import trio
from runtime.meshes import SECONDS

from faramesh_mesh.runtime import clock
from faramesh_mesh.runtime.driver import DialError, Driver
from faramesh_mesh.runtime.logs import MAX_KINDS, MAX_WAITING, Limited, Line, Log, Style, open_log


def test_a_json_line_holds_the_event_and_its_fields():
    line = Line(1_767_621_751_123, "info", "peer up", (("node", "7f3c91ab"), ("links", 3)))
    assert json.loads(line.text(Style.JSON)) == {
        "ts": "2026-01-05T14:02:31.123Z",
        "level": "info",
        "event": "peer up",
        "node": "7f3c91ab",
        "links": 3,
    }


def test_a_text_line_cannot_drive_a_terminal():
    line = Line(0, "warn", "refused", (("detail", "a\x1b[2Jb\nc"), ("empty", ""), ("none", None)))
    text = line.text(Style.TEXT)
    assert text.isprintable()
    assert "empty" not in text
    assert "none" not in text


def test_what_others_can_cause_at_will_is_limited_and_counted():
    limit = Limited()
    passed = [limit.passes(0) for _ in range(20)]
    assert [through for through, _ in passed] == [True] * Limited.BURST + [False] * (20 - Limited.BURST)
    assert limit.passes(Limited.PERIOD_NS + 1) == (True, 20 - Limited.BURST)


def test_a_log_that_nobody_writes_stays_bounded_and_says_what_it_lost():
    sink = StringIO()
    log = Log(sink)
    for number in range(MAX_WAITING + 7):
        log.info("noise", number=number)
    log.write_out()
    lines = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert len(lines) == MAX_WAITING + 1
    assert lines[-1]["event"] == "log lines dropped"
    assert lines[-1]["lines"] == 7


class _Broken(StringIO):
    def write(self, text: str, /) -> int:
        raise OSError(f"broken pipe: {len(text)} characters")


async def test_a_sink_that_breaks_does_not_stop_the_node(autojump_clock):
    log = Log(_Broken())
    with trio.move_on_after(1):
        log.info("lost")
        await log.run()


def test_a_sink_that_breaks_loses_lines_and_the_next_that_works_says_how_many():
    sink = _Broken()
    log = Log(sink)
    for number in range(7):
        log.info("lost", number=number)
    log.write_out()
    log.info("lost too")
    log.write_out()
    log._sink = StringIO()
    log.info("kept")
    log.write_out()
    lines = [json.loads(line) for line in log._sink.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["kept", "log lines dropped"]
    assert lines[-1]["lines"] == 8


async def test_a_reader_that_takes_nothing_does_not_hold_up_the_end():
    """Nor does a second writer come between: the one that hangs has the sink."""
    let_go = threading.Event()

    class Stalled(StringIO):
        def write(self, text: str, /) -> int:
            let_go.wait(SECONDS)
            return super().write(text)

    log = Log(Stalled())
    log.info("stopped")
    began = trio.current_time()
    await log.finish()
    assert trio.current_time() - began < SECONDS / 2
    log.info("more")
    log.write_out()
    let_go.set()


def test_kinds_that_strangers_make_up_are_forgotten():
    log = Log(StringIO())
    for number in range(2 * MAX_KINDS):
        log.limited(f"kind {number}", "noise")
    assert len(log._limits) == MAX_KINDS


def test_a_file_is_appended_to(tmp_path):
    path = tmp_path / "node.log"
    for event in ("first", "second"):
        log, close = open_log(path, Style.JSON)
        log.info(event)
        log.write_out()
        close()
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["first", "second"]


async def test_addresses_that_members_make_up_are_one_kind():
    """Each address was a kind of its own: none was ever suppressed, and none forgotten."""

    async def refuse(address: str) -> None:
        raise DialError("refused")

    log = Log(StringIO())
    driver = Driver(None, None, log, refuse, lambda: None, clock)
    driver.post = lambda _: None
    for number in range(50):
        await driver._dial(f"m{number}:1")
    assert len(log._waiting) == Limited.BURST
    assert [dict(line.fields)["address"] for line in log._waiting][:2] == ["m0:1", "m1:1"]
