"""One function, many inputs, one SQLite file: concurrent, watched, resumable."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pipeloom.demo import TaskDef
    from pipeloom.engine.api import map, run_pipeline  # noqa: A004 - the field's own word
    from pipeloom.errors import (
        AttemptOverError,
        ChannelClosedError,
        DatabaseInUseError,
        DuplicateKeyError,
        LedgerError,
        PipeloomError,
        RowRefusedError,
        RunInterruptedError,
        SchemaError,
        StorageError,
        TaskCancelledError,
        TasksFailedError,
        TaskTimeoutError,
        TaskTooLargeError,
        WriterBrokenError,
    )
    from pipeloom.messages import (
        SENTINEL,
        Msg,
        MsgExecute,
        MsgTaskFinish,
        MsgTaskFinished,
        MsgTaskProgress,
        MsgTaskStart,
        MsgTaskStarted,
        MsgWriteRows,
    )
    from pipeloom.progress import make_overall_progress, make_task_progress, preregister_task_bars
    from pipeloom.report import Failure, RunReport
    from pipeloom.retry import Retry
    from pipeloom.rlog import console, logger, setup_logging
    from pipeloom.worker.context import TaskContext, current_task
    from pipeloom.writer.channel import Channel
    from pipeloom.writer.thread import SQLiteWriter

__all__ = [
    "SENTINEL",
    "AttemptOverError",
    "Channel",
    "ChannelClosedError",
    "DatabaseInUseError",
    "DuplicateKeyError",
    "Failure",
    "LedgerError",
    "Msg",
    "MsgExecute",
    "MsgTaskFinish",
    "MsgTaskFinished",
    "MsgTaskProgress",
    "MsgTaskStart",
    "MsgTaskStarted",
    "MsgWriteRows",
    "PipeloomError",
    "Retry",
    "RowRefusedError",
    "RunInterruptedError",
    "RunReport",
    "SQLiteWriter",
    "SchemaError",
    "StorageError",
    "TaskCancelledError",
    "TaskContext",
    "TaskDef",
    "TaskTimeoutError",
    "TaskTooLargeError",
    "TasksFailedError",
    "WriterBrokenError",
    "console",
    "current_task",
    "logger",
    "make_overall_progress",
    "make_task_progress",
    "map",
    "preregister_task_bars",
    "run_pipeline",
    "setup_logging",
]

# Where each name comes from. Names resolve when first used: `import pipeloom` happens in every worker and at
# every prompt, and Rich alone takes 80 ms.
_HOME = {
    "worker.context": ("TaskContext", "current_task"),
    "demo": ("TaskDef",),
    "engine": ("map", "run_pipeline"),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "messages": ("SENTINEL", *(name for name in __all__ if name.startswith("Msg"))),
    "progress": ("make_overall_progress", "make_task_progress", "preregister_task_bars"),
    "report": ("Failure", "RunReport"),
    "retry": ("Retry",),
    "rlog": ("console", "logger", "setup_logging"),
    "writer": ("Channel", "SQLiteWriter"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


if not TYPE_CHECKING:  # Type checkers read the imports above: seeing this, they would accept any name.

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
