"""The clock that stands still while the program is stopped."""

from __future__ import annotations

import types

import pytest

from pipeloom.data import stopwatch


class Machine:
    """The clocks of a machine that the test moves on."""

    def __init__(self):
        self.now, self.worked = 100.0, 1.0

    def monotonic(self):
        """As the time module's."""
        return self.now

    def process_time(self):
        """As the time module's."""
        return self.worked

    def passes(self, seconds, *, worked=0.0):
        """Let time pass, in which the process took this much of the processor."""
        self.now += seconds
        self.worked += worked


@pytest.fixture
def machine(monkeypatch):
    """A machine, on which the program has just looked at its clock."""
    machine = Machine()
    fake = types.SimpleNamespace(monotonic=machine.monotonic, process_time=machine.process_time)
    monkeypatch.setattr(stopwatch, "time", fake)
    for name, value in (("_stood_s", 0.0), ("_seen_at", machine.now), ("_worked_s", machine.worked)):
        monkeypatch.setattr(stopwatch, name, value)
    return machine


@pytest.mark.parametrize("first", [stopwatch.look, stopwatch.monotonic])
def test_stands_still_while_the_program_is_stopped(machine, first):
    """Whoever asks first afterwards: a run that looks, or a task."""
    began = stopwatch.monotonic()
    machine.passes(3600.0)
    first()
    assert stopwatch.monotonic() - began < 0.5


def test_goes_on_while_the_program_works(machine):
    """C code may keep all threads from looking for seconds; that is time that a task took."""
    began = stopwatch.monotonic()
    machine.passes(5.0, worked=5.0)
    stopwatch.look()
    assert stopwatch.monotonic() - began == pytest.approx(5.0)


def test_no_task_takes_less_than_nothing(machine):
    """On a busy machine the thread that looks may get no processor while others begin and end tasks."""
    machine.passes(0.4)
    began = stopwatch.monotonic()
    machine.passes(0.3)
    stopwatch.look()
    assert stopwatch.monotonic() - began == pytest.approx(0.3)
    machine.passes(0.6)
    stopwatch.look()
    assert stopwatch.monotonic() - began >= 0.3
