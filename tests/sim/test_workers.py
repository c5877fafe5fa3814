"""Worker processes: each task has its result, and a process that dies takes no other task with it."""

from multiprocessing import active_children

from sim.small import square_or_die

from faramesh_sim.workers import Died, spread


def test_every_task_has_its_result() -> None:
    found = dict(spread(range(10, 17), 2, square_or_die))
    assert found == {at: (10 + at) ** 2 for at in range(7)}
    assert active_children() == []


def test_a_process_that_dies_takes_only_its_own_task_with_it() -> None:
    found = dict(spread(range(6), 2, square_or_die))
    killed, ended = found.pop(3), found.pop(4)
    assert found == {0: 0, 1: 1, 2: 4, 5: 25}
    assert isinstance(killed, Died)
    assert "SIGKILL" in killed.why
    assert isinstance(ended, Died)
    assert "code 7" in ended.why


def test_who_stops_listening_ends_the_processes() -> None:
    listening = spread(range(10, 30), 2, square_or_die)
    next(listening)
    listening.close()
    assert active_children() == []
