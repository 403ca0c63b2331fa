"""What can go wrong: one tree, drawn in its docstring, that survives pickle."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

from pipeloom import errors
from pipeloom.errors import (
    AttemptOverError,
    ChannelClosedError,
    DatabaseInUseError,
    DuplicateKeyError,
    ExecutorBrokenError,
    LedgerError,
    NameNeededError,
    PipeloomError,
    RemoteError,
    RetryLater,
    RowRefusedError,
    RunInterruptedError,
    SchemaError,
    StorageError,
    TaskCancelledError,
    TasksFailedError,
    TaskTimeoutError,
    TaskTooLargeError,
    WorkerDiedError,
    WriterBrokenError,
)
from pipeloom.report import Failure, RunReport

REPORT = RunReport(
    run_id=7,
    status="error",
    done=1,
    failed=2,
    cancelled=0,
    timed_out=0,
    skipped=0,
    total=3,
    elapsed_s=0.5,
    failures=(Failure("k", 1, "ValueError", "no", None),),
    pipeline="m:f",
    db="out.db",
)


def instances():
    """Return one of each, every attribute set to something that is not its default."""
    return [
        PipeloomError("a sentence"),
        StorageError("a sentence", path="/x/out.db"),
        SchemaError("a sentence", path="/x/out.db"),
        DatabaseInUseError("a sentence", path="/x/out.db", pid=42),
        ChannelClosedError("a sentence"),
        RetryLater(2.5, count=False),
        WriterBrokenError("a sentence"),
        LedgerError("a sentence"),
        DuplicateKeyError("a sentence", key="path:a"),
        NameNeededError("a sentence"),
        RowRefusedError("a sentence"),
        TaskCancelledError("a sentence"),
        TaskTimeoutError("a sentence"),
        TaskTooLargeError("a sentence"),
        AttemptOverError("a sentence"),
        TasksFailedError("a sentence", [ValueError("one"), KeyError("two")], REPORT),
        RunInterruptedError("a sentence", REPORT),
        WorkerDiedError("a sentence", signal=9),
        RemoteError("a sentence", kind="OddError"),
        ExecutorBrokenError("a sentence"),
    ]


def kind_of(error):
    """Name a case after its class."""
    return type(error).__name__


def classes():
    """Return every exception class that the module defines."""
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    }


def drawn_tree():
    """Read the picture in the docstring as name → parent."""
    parents, path = {}, []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.fullmatch(r" {4}([ │├└─]*)(\w+Error|RetryLater)(?: {2,}.*)?", line):
            depth = len(found[1]) // 4
            parents[found[2]] = path[depth - 1] if depth else None
            path[depth:] = [found[2]]
    return parents


def test_the_docstring_draws_the_tree_as_it_is():
    """Every class is drawn, under the class that it derives from."""
    real = {name: cls.__bases__[0].__name__ for name, cls in classes().items()}
    real["PipeloomError"] = None

    assert drawn_tree() == real


def test_every_error_is_public():
    """Whatever is raised can be named in an ``except``."""
    assert set(errors.__all__) == set(classes())
    assert all(issubclass(cls, PipeloomError) for cls in classes().values())


def test_every_error_is_tried_here():
    """An error that is added is added to instances()."""
    assert {kind_of(error) for error in instances()} == set(classes())


@pytest.mark.parametrize("error", instances(), ids=kind_of)
def test_an_error_survives_pickle_and_copy(error):
    """With its sentence, its attributes and its notes, in every protocol."""
    error.__notes__ = ["where it was"]
    again = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]

    for other in (*again, copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert other.__notes__ == ["where it was"]
        if isinstance(error, TasksFailedError):
            assert [repr(part) for part in other.exceptions] == [repr(part) for part in error.exceptions]
            assert other.report == error.report
        else:
            assert other.args == error.args
            assert vars(other) == vars(error)


def test_attributes_say_what_the_sentence_says():
    """Data as attributes; paths as text, whatever they were given as."""
    assert StorageError("no").path is None
    assert StorageError("no", path=Path("/x/out.db")).path == "/x/out.db"
    in_use = DatabaseInUseError("no", path=Path("/x/out.db"), pid=42)
    assert (in_use.path, in_use.pid) == ("/x/out.db", 42)
    assert DuplicateKeyError("no", key=1).key == 1
    assert RunInterruptedError("no", REPORT).report is REPORT


def test_wrong_classes_do_not_catch():
    """Closed is not broken; a refused row is the ledger's; an interrupt is also a KeyboardInterrupt."""
    assert not issubclass(ChannelClosedError, WriterBrokenError)
    assert not issubclass(WriterBrokenError, ChannelClosedError)
    assert not issubclass(DatabaseInUseError, StorageError)
    assert issubclass(RowRefusedError, LedgerError)
    assert issubclass(RunInterruptedError, KeyboardInterrupt)
    assert issubclass(TasksFailedError, ExceptionGroup)


def failed():
    """A group of two kinds, one of them nested."""
    return TasksFailedError("3 of 4", [ValueError(1), ExceptionGroup("deep", [KeyError(2)]), ValueError(3)], REPORT)


def test_split_and_subgroup_keep_class_and_report():
    """Both halves are still the whole story's."""
    matching, rest = failed().split(ValueError)

    for part in (matching, rest, failed().subgroup(KeyError)):
        assert type(part) is TasksFailedError
        assert part.message == "3 of 4"
        assert part.report is REPORT
    assert [str(part) for part in matching.exceptions] == ["1", "3"]
    assert failed().subgroup(OSError) is None


def test_derive_keeps_the_report():
    """Also for those who call it themselves."""
    part = failed().derive([OSError("new")])

    assert type(part) is TasksFailedError
    assert part.report is REPORT
    assert [repr(inner) for inner in part.exceptions] == ["OSError('new')"]


def test_except_star_keeps_the_report():
    """What is caught, and what goes on, have it."""
    caught = None
    with pytest.raises(TasksFailedError) as rest:
        try:
            raise failed()
        except* ValueError as part:
            caught = part

    assert caught.report is REPORT
    assert rest.value.report is REPORT
    assert [repr(inner.exceptions) for inner in rest.value.exceptions] == ["(KeyError(2),)"]


def test_a_part_survives_pickle():
    """What ``split`` returns can be sent on."""
    matching, _ = failed().split(ValueError)
    again = pickle.loads(pickle.dumps(matching))

    assert again.report == REPORT
    assert [str(part) for part in again.exceptions] == ["1", "3"]


def test_one_except_catches_them_all():
    """``except PipeloomError`` is enough; the exceptions of tasks stay reachable by their own class."""
    for error in instances():
        with pytest.raises(PipeloomError):
            raise error
    with pytest.raises(ExceptionGroup) as group:
        raise failed()
    assert group.value.subgroup(KeyError) is not None
