"""Logs: one line an event, bounded, whatever a peer or a reader does."""

import json
from io import StringIO

import trio

from faramesh_mesh.runtime.logs import MAX_WAITING, Limited, Line, Log, Style, open_log


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


def test_a_file_is_appended_to(tmp_path):
    path = tmp_path / "node.log"
    for event in ("first", "second"):
        log, close = open_log(path, Style.JSON)
        log.info(event)
        log.write_out()
        close()
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["first", "second"]
