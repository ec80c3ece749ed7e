"""Commands that print, hang, shout and leave processes behind."""

import os
import sys
import time

import psutil
import pytest

from lrsearch.objectives.command_process import HEAD, TAIL, CommandProcess
from tests.doubles import wait_until

pytestmark = pytest.mark.timeout(60)


def start(code, folder):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return CommandProcess([sys.executable, "-c", code], environment, folder / "output.txt")


def test_lines_of_both_outputs_are_read_in_order_and_kept(tmp_path):
    code = "import sys; print('a'); print('b', file=sys.stderr); print('1\\r2\\r3\\nc', end='')"
    with start(code, tmp_path) as process:
        assert list(process.lines(None)) == ["a", "b", "1", "2", "3", "c"]
        assert process.code(None) == 0
    assert (tmp_path / "output.txt").read_bytes() == b"a\nb\n1\r2\r3\nc"


def test_the_exit_code_and_the_signal_are_known(tmp_path):
    with start("raise SystemExit(7)", tmp_path) as process:
        assert list(process.lines(None)) == []
        assert process.code(None) == 7
    with start("import os; os.kill(os.getpid(), 9)", tmp_path) as process:
        assert list(process.lines(None)) == []
        assert process.code(None) == -9


def test_of_100_mb_the_begin_and_the_end_are_kept_and_every_line_is_read(tmp_path):
    code = "for i in range(100): print('x' * (2**20 - 1))\nprint('last')"
    with start(code, tmp_path) as process:
        lines = sum(1 for _ in process.lines(None))
        assert process.code(None) == 0
    assert lines == 101
    kept = (tmp_path / "output.txt").read_bytes()
    assert HEAD + TAIL <= len(kept) < HEAD + 2 * TAIL
    assert b"bytes left out]" in kept
    assert kept.endswith(b"x\nlast\n")


@pytest.mark.parametrize("how", ["silent", "talks", "closes its output"])
def test_a_command_that_hangs_is_ended_at_its_limit_with_all_its_processes(tmp_path, how):
    code = {
        "silent": "time.sleep(600)",
        "talks": "while True: print('.'); time.sleep(0.01)",
        "closes its output": "os.close(1); os.close(2); time.sleep(600)",
    }[how]
    child = "subprocess.Popen(['sleep', '599'], start_new_session={})"
    both = f"{child.format(True)}; {child.format(False)}"
    begun = time.monotonic()
    with start(f"import os, subprocess, time; {both}\n{code}", tmp_path) as process:
        left = psutil.Process(process._process.pid)
        wait_until(lambda: len(left.children()) == 2)
        children = left.children()
        with pytest.raises(TimeoutError):
            process.code(1.0 + sum(0 for _ in process.lines(1.0)))
    assert time.monotonic() - begun < 30
    assert not left.is_running()
    wait_until(lambda: not any(child.is_running() for child in children))


def test_a_process_that_the_command_leaves_behind_does_not_hold_it_up(tmp_path):
    code = "import subprocess; print(subprocess.Popen(['sleep', '599']).pid)"
    with start(code, tmp_path) as process:
        (pid,) = filter(None, process.lines(None))
        assert process.code(None) == 0
    wait_until(lambda: not psutil.pid_exists(int(pid)))


def test_an_interruption_ends_the_command(tmp_path):
    process = start("import time; time.sleep(600)", tmp_path)
    left = psutil.Process(process._process.pid)
    with pytest.raises(KeyboardInterrupt), process:
        raise KeyboardInterrupt
    assert not left.is_running()
