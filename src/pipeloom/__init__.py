"""Run one function over many inputs and store the results in one SQLite file: concurrent, observable, resumable."""

__version__ = "0.1.0"

TYPE_CHECKING = False


def _homes() -> dict[str, str]:
    """Map each exported name to its module, read from the imports below; empty when the source is not available.

    Only type checkers execute those imports. ``import pipeloom`` runs in every worker, and Rich alone takes 80 ms
    to
    import, so each name is imported on first use. anyio does the same (``_lazyimport.py``).
    """
    try:
        source: str = __spec__.loader.get_data(__file__).decode()  # type: ignore[union-attr]  # caught below
    except (AttributeError, OSError, UnicodeDecodeError):  # a frozen program may ship without its source
        return {}
    lines = (line.split() for line in source.splitlines() if line.startswith("    from pipeloom."))
    return {name: module for _, module, _, name, *_ in lines}


_HOME = _homes()

if TYPE_CHECKING or not _HOME:
    from pipeloom.db import connect_readonly as connect_readonly
    from pipeloom.demo import TaskDef as TaskDef
    from pipeloom.engine import map as map  # noqa: A004 - the usual name for this operation
    from pipeloom.engine import run_pipeline as run_pipeline
    from pipeloom.engine.handle import RunHandle as RunHandle
    from pipeloom.engine.starting import amap as amap
    from pipeloom.engine.starting import start as start
    from pipeloom.errors import AttemptOverError as AttemptOverError
    from pipeloom.errors import ChannelClosedError as ChannelClosedError
    from pipeloom.errors import DatabaseInUseError as DatabaseInUseError
    from pipeloom.errors import DuplicateKeyError as DuplicateKeyError
    from pipeloom.errors import ExecutorBrokenError as ExecutorBrokenError
    from pipeloom.errors import LedgerError as LedgerError
    from pipeloom.errors import NameNeededError as NameNeededError
    from pipeloom.errors import PipeloomError as PipeloomError
    from pipeloom.errors import RemoteError as RemoteError
    from pipeloom.errors import RetryLater as RetryLater
    from pipeloom.errors import RowRefusedError as RowRefusedError
    from pipeloom.errors import RunInterruptedError as RunInterruptedError
    from pipeloom.errors import SchemaError as SchemaError
    from pipeloom.errors import StorageError as StorageError
    from pipeloom.errors import TaskCancelledError as TaskCancelledError
    from pipeloom.errors import TasksFailedError as TasksFailedError
    from pipeloom.errors import TaskTimeoutError as TaskTimeoutError
    from pipeloom.errors import TaskTooLargeError as TaskTooLargeError
    from pipeloom.errors import WorkerDiedError as WorkerDiedError
    from pipeloom.errors import WriterBrokenError as WriterBrokenError
    from pipeloom.limit import Limit as Limit
    from pipeloom.merging import MergeReport as MergeReport
    from pipeloom.merging import merge as merge
    from pipeloom.messages import SENTINEL as SENTINEL
    from pipeloom.messages import Msg as Msg
    from pipeloom.messages import MsgExecute as MsgExecute
    from pipeloom.messages import MsgTaskFinish as MsgTaskFinish
    from pipeloom.messages import MsgTaskFinished as MsgTaskFinished
    from pipeloom.messages import MsgTaskProgress as MsgTaskProgress
    from pipeloom.messages import MsgTaskStart as MsgTaskStart
    from pipeloom.messages import MsgTaskStarted as MsgTaskStarted
    from pipeloom.messages import MsgWriteRows as MsgWriteRows
    from pipeloom.progress import make_overall_progress as make_overall_progress
    from pipeloom.progress import make_task_progress as make_task_progress
    from pipeloom.progress import preregister_task_bars as preregister_task_bars
    from pipeloom.report import Failure as Failure
    from pipeloom.report import FailureKind as FailureKind
    from pipeloom.report import RunCounts as RunCounts
    from pipeloom.report import RunReport as RunReport
    from pipeloom.report import TaskOutcome as TaskOutcome
    from pipeloom.retry import Retry as Retry
    from pipeloom.rlog import console as console
    from pipeloom.rlog import logger as logger
    from pipeloom.rlog import setup_logging as setup_logging
    from pipeloom.worker.async_context import AsyncTaskContext as AsyncTaskContext
    from pipeloom.worker.async_context import current_async_task as current_async_task
    from pipeloom.worker.context import TaskContext as TaskContext
    from pipeloom.worker.context import current_task as current_task
    from pipeloom.writer import Channel as Channel
    from pipeloom.writer import SQLiteWriter as SQLiteWriter
else:
    __all__ = list(_HOME)

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        try:
            value = globals()[name] = getattr(import_module(_HOME[name]), name)
        except KeyboardInterrupt as error:
            if _HOME[name] != "pipeloom.engine":
                raise
            from pipeloom.data.uncaught import prepare
            from pipeloom.errors import RunInterruptedError

            instead = RunInterruptedError("interrupted before anything started")
            prepare(instead)
            raise instead from error  # in pipeloom.map(...)
        return value


del TYPE_CHECKING


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
