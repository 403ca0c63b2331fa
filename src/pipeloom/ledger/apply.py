"""A batch of what came through the channel becomes a few SQL statements.

Runs in the writer's thread, inside the writer's transaction; nothing here begins, commits or rolls back.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pipeloom.data.clock import utc_now
from pipeloom.data.rows import Block, Statement, block_from
from pipeloom.data.text import attribute, clean, describe, kind_of, storable
from pipeloom.data.values import adapt_params
from pipeloom.db.connection import is_fatal
from pipeloom.db.transaction import Transaction
from pipeloom.errors import AttemptOverError, LedgerError, RowRefusedError
from pipeloom.ledger.attempt import Attempt, Checkpoint, Glimpse, LogLine, Spoken
from pipeloom.ledger.guard import Guard
from pipeloom.ledger.runs import RunLedger, RunSpec
from pipeloom.ledger.tables import StagedOutput, Tables, UserTables
from pipeloom.ledger.tasks import NUMBER_LIMIT, Said, TaskTable, task_number
from pipeloom.messages import Handler, MsgExecute, MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, MsgWriteRows

__all__ = ["Applied", "Ledger"]

logger = logging.getLogger("pipeloom")

_STEPS: Final = 100_000  # of SQLite's machine: about a millisecond
_STATUS_MESSAGES: Final = (MsgTaskStarted, MsgTaskProgress, MsgTaskFinished)


class Applied:
    """What a batch did, to be told once it has committed."""

    __slots__ = ("checkpoints", "finished", "heard", "kept", "live", "logged", "refused")

    def __init__(self) -> None:
        self.finished: list[Attempt] = []
        self.live: list[Glimpse] = []
        self.heard: list[dict[int, Said]] = []
        self.logged: list[tuple[Attempt, list[LogLine]]] = []
        self.checkpoints: list[Checkpoint] = []
        self.refused: list[tuple[Checkpoint, BaseException]] = []
        self.kept: dict[Attempt, int] = {}  # rows stored by an attempt's checkpoints, these included

    def answer(self) -> None:
        """Tell those who wait for a checkpoint."""
        for checkpoint in self.checkpoints:
            checkpoint.give()
        for checkpoint, error in self.refused:
            checkpoint.fail(error)


class Ledger:
    """All that is written, in one hand.

    Args:
        conn: The writer's connection.
        transaction: Its transactions.
        store_task_status: Keep the ledger's own tables; otherwise only users' tables are written.
        handlers: Message type → handler, for messages of the user's own.
    """

    def __init__(
        self,
        conn: sqlite3.Connection,
        transaction: Transaction,
        *,
        store_task_status: bool,
        handlers: Mapping[type, Handler] | None = None,
    ) -> None:
        self.conn = conn
        self._transaction = transaction
        self.guard = Guard(conn)
        self.tasks = TaskTable(conn, transaction) if store_task_status else None
        self.tables = UserTables(conn, self.guard, has_ledger=store_task_status)
        self.run: RunLedger | None = None
        self._handlers = dict(handlers or {})
        self._warned: set[type] = set()

    def open_run(self, spec: RunSpec, tables: Tables) -> RunLedger:
        """Create declared tables and begin a run."""
        self.tables.declare(tables)
        self.run = RunLedger(self.conn, self._transaction, self.tasks, spec)
        return self.run

    def forget_schema(self) -> None:
        """Drop what is known of the schema: a rollback may have changed it back."""
        self.tables.forget()
        self.guard.forget()

    def apply(self, items: Iterable[Any], *, with_live: bool = True) -> Applied:
        """Write a batch: states first, then users' rows, statements and handlers in their order.

        Args:
            items: What was said.
            with_live: It is the batch as a whole: running attempts and the run's counts go with it.

        Raises:
            Exception: Whatever a foreign value, statement or handler raises: the caller rolls back, finds the
                culprit, and asks whether it is fatal.
        """
        applied = Applied()
        said: dict[int, Said] = {}
        actions: list[tuple[Any, StagedOutput]] = []
        for item in items:
            kind = type(item)
            if kind is MsgTaskProgress:  # by far the most frequent, and only the last one counts
                number = item.task_id
                words = said.get(number) if type(number) is int else None
                if words is None:
                    said = self._hear(item, said, applied)
                elif words.finished is None:
                    words.progress = item
            elif kind is MsgTaskStarted or kind is MsgTaskFinished:
                said = self._hear(item, said, applied)
            elif kind is Attempt:
                if item.refused is not None and (item.status == "done" or item.retry_in is not None):
                    item.fail(item.refused, reason_of(item.refused), reason_of(item.refused))
                if item.staging is not None:  # it may have come to a checkpoint
                    item.fenced = True
                applied.finished.append(item)
                if item.staged and item.status == "done":
                    output = StagedOutput(item.staged)
                    actions.extend((action, output) for action in item.staged)
            elif kind is Checkpoint:
                # By its place in the channel, not by the status of the moment; and as at first sight, however often
                # the batch is applied.
                if item.is_late is None:
                    item.is_late = item.attempt.fenced
                if item.is_late:
                    applied.refused.append((item, AttemptOverError("the task has ended: this is not stored")))
                    continue
                applied.checkpoints.append(item)
                output = StagedOutput(item.staged)
                actions.extend((action, output) for action in item.staged)
            else:
                message = item.message if kind is Spoken else item
                if isinstance(message, _STATUS_MESSAGES) and type(message) not in self._handlers:
                    said = self._hear(message, said, applied)
                else:
                    actions.append((message, StagedOutput((message,))))
        if self.run is not None and with_live:
            applied.live = self.run.live()
        if applied.checkpoints:
            self._show_checkpoints(applied)
        self._write_said(said, applied)
        self._write_attempts(applied, with_counts=with_live)
        self._act(actions)
        return applied

    def _hear(self, message: Any, said: dict[int, Said], applied: Applied) -> dict[int, Said]:
        """Fold one status message; what goes backwards in the order start, progress, finish is written first."""
        number = message.task_id
        if type(number) is not int or not -NUMBER_LIMIT < number < NUMBER_LIMIT:
            number = task_number(number)
        words = said.get(number)
        if words is None:
            words = said[number] = Said()
        if isinstance(message, MsgTaskProgress):
            if words.finished is None:
                words.progress = message
        elif isinstance(message, MsgTaskFinished):
            if words.finished is None:
                words.finished = message
        elif words.started or words.progress or words.finished:
            self._write_said(said, applied)
            said = {number: Said()}
            said[number].started = message
        else:
            words.started = message
        return said

    def _write_said(self, said: dict[int, Said], applied: Applied) -> None:
        if said:
            applied.heard.append(said)
            if self.tasks is not None:
                self.tasks.put_said(said)

    def _show_checkpoints(self, applied: Applied) -> None:
        """Have the rows of tasks that come to a checkpoint say so: without them their states would be nobody's."""
        for checkpoint in applied.checkpoints:
            attempt = checkpoint.attempt
            applied.kept[attempt] = applied.kept.get(attempt, attempt.rows_kept) + checkpoint.rows
        shown = {*applied.finished, *(glimpse.attempt for glimpse in applied.live)}
        applied.live += [attempt.glimpse() for attempt in applied.kept if attempt not in shown]

    def _write_attempts(self, applied: Applied, *, with_counts: bool) -> None:
        if self.tasks is not None and (applied.finished or applied.live):
            own = [attempt for attempt in applied.finished if attempt.row != "none"]
            if applied.checkpoints:
                self.tasks.put_states(applied.checkpoints)
            while twice := _said_twice(own) if self.tasks.pipeline_id is None else 0:
                self.tasks.put_attempts(own[:twice], (), applied.kept)
                own = own[twice:]
            self.tasks.put_attempts(own, applied.live, applied.kept)
            logging_ones = [attempt for attempt in own if attempt.logs]
            logging_ones += [glimpse.attempt for glimpse in applied.live if glimpse.attempt.logs]
            if logging_ones:
                applied.logged = self.tasks.put_logs(logging_ones)
            for attempt in applied.finished:
                if attempt.row == "none":
                    self._keep_rejected(attempt.task_id, "input", attempt.name, attempt.message or "")
        if self.run is not None and with_counts:
            self.run.store_counts(applied.finished)

    # --- users' rows, statements and messages ---

    def _act(self, actions: Sequence[tuple[Any, StagedOutput]]) -> None:
        """Do what users asked for, in order; messages of one type that follow each other go to one handler call.

        Args:
            actions: What to do, each with the whole output that it is a part of.
        """
        if not actions:
            return
        self._transaction.open()
        together: list[Any] = []
        for action, output in actions:
            kind = type(action)
            if together and kind is not type(together[0]):
                self._handle(together)
                together = []
            if kind is Block:
                self.tables.add(action, output)
            elif kind is Statement:
                self._execute(action)
            elif kind is MsgExecute:
                self._execute(Statement(action.sql, adapt_params(action.params)))
            elif kind is MsgWriteRows:
                block = block_from(action)
                self.tables.add(block, StagedOutput((block,)))
            elif kind in self._handlers:
                together.append(action)
            else:
                self._meet_stranger(action)
        if together:
            self._handle(together)
        self.tables.flush()

    def _execute(self, statement: Statement) -> None:
        self.tables.flush()
        with self.guard.users_sql():
            self.conn.execute(*statement).close()
        self._after_users_sql()

    def _handle(self, messages: list[Any]) -> None:
        self.tables.flush()
        handler = self._handlers[type(messages[0])]
        try:
            with self.guard.users_sql():
                handler(self.conn, messages)
        except BaseException as error:  # sys.exit() in a handler must not end the writer
            if is_fatal(error) and not self.conn.in_transaction:  # ours; a handler may speak to other files, too
                raise
            name = getattr(handler, "__qualname__", type(handler).__name__)
            raise RowRefusedError(f"handler {clean(name, 80)}: {kind_of(error)}: {reason_of(error)}") from error
        finally:
            self.conn.row_factory, self.conn.text_factory = None, str  # a handler may like others
        self._after_users_sql()

    def _after_users_sql(self) -> None:
        """Check what an authorizer cannot see: a lost transaction, and a table renamed to one of our names."""
        if not self.conn.in_transaction:
            raise RowRefusedError("the statement ended the writer's transaction (ON CONFLICT ROLLBACK?)")
        if self.guard.schema_touched:  # asking each time would take longer than most statements
            self.tables.forget()
            self.guard.check_names()

    def _meet_stranger(self, message: Any) -> None:
        kind = type(message)
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning(
                "a message of unknown type %s was left aside: pass handlers={%s: fn} to store such messages",
                clean(kind.__name__, 80),
                clean(kind.__name__, 80),
            )
        self._keep_rejected(None, kind.__name__, describe(message), "unknown message type")

    def query(self, sql: str, params: Any, give_up: Callable[[], bool]) -> list[tuple[Any, ...]]:
        """Answer a task's question from committed data; between transactions.

        Args:
            sql: The question.
            params: Its parameters, storable.
            give_up: Asked every few milliseconds; true ends a question that nobody awaits any more.

        Source: https://www.sqlite.org/pragma.html#pragma_query_only
        """
        self.conn.execute("PRAGMA query_only = ON")
        self.conn.set_progress_handler(give_up, _STEPS)
        try:
            with self.guard.users_sql():
                return self.conn.execute(sql, params).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
                raise RowRefusedError("query() only reads: use execute() or write() to change something") from error
            raise
        finally:
            self.conn.set_progress_handler(None, 0)
            self.conn.execute("PRAGMA query_only = OFF")

    def written_tables(self) -> set[str]:
        """Return the tables that were written to."""
        own = {"task_runs"} if self.tasks is not None and self.tasks.written else set()
        return own | self.guard.changed

    def state_of(self, number: int) -> str | None:
        """Return what a task's last checkpoint said, JSON; ``None`` when it has none."""
        return None if self.tasks is None else self.tasks.state_of(number)

    def show_live(self, glimpse: Glimpse) -> Applied:
        """Write one running attempt's state; inside a transaction."""
        applied = Applied()
        if self.tasks is not None:
            applied.live.append(glimpse)
            self.tasks.put_attempts((), applied.live, {})
        return applied

    # --- refusals ---

    def refuse(self, item: Any, error: BaseException) -> Applied:
        """Record an item that could not be applied, and let its own task bear it; inside a transaction."""
        reason = reason_of(error)
        if type(item) is Attempt:
            item.fail(error, reason, f"{kind_of(error)}: {reason}")
            try:
                return self.apply([item], with_live=False)
            except Exception as again:  # not even its row may be written: its number is another's
                if is_fatal(again):
                    raise
                item.row = "none"
                return self.apply([item], with_live=False)
        if type(item) is Checkpoint:
            item.attempt.refused = error
            applied = Applied()
            applied.refused.append((item, error))
            return applied
        attempt, message = item if type(item) is Spoken else (None, item)
        if attempt is not None:
            attempt.refused = error
        number = attempt.task_id if attempt is not None else attribute(message, "task_id")
        logger.warning("%s refused: %s", clean(kind_of(message), 80), clean(reason, 500))
        self._keep_rejected(number, kind_of(message), describe(message, 2000), reason)
        if attempt is None and isinstance(message, MsgTaskFinished):
            try:
                number = task_number(message.task_id)
                spare = MsgTaskFinished(number, "error", utc_now(), None, clean(reason, 500))
                return self.apply([spare], with_live=False)
            except LedgerError:  # it is nobody's number, or another's: there is no row to tell
                pass
        return Applied()

    def _keep_rejected(self, number: Any, kind: str, content: str, error: str) -> None:
        if self.tasks is None:
            return
        task_id = number if type(number) is int and abs(number) < 1 << 63 else None
        self._transaction.write(
            "INSERT INTO pipeloom_rejected (run_id, task_id, at, kind, content, error) VALUES (?, ?, ?, ?, ?, ?)",
            (self.tasks.run_id, task_id, utc_now(), storable(kind), storable(content), storable(error)),
        )


def _said_twice(attempts: Sequence[Attempt]) -> int:
    """Return where a number comes for the second time, which makes a past try of the first; 0 when none does."""
    numbers = [attempt.task_id for attempt in attempts if attempt.row != "provisional"]
    if len(set(numbers)) == len(numbers):
        return 0
    seen: set[int] = set()
    for place, attempt in enumerate(attempts):
        if attempt.row != "provisional" and attempt.task_id in seen:
            return place
        seen.add(attempt.task_id)
    return 0


def reason_of(error: BaseException) -> str:
    """Return an error's text with the notes that say where it was, and what to do."""
    return "; ".join([*getattr(error, "__notes__", ()), describe(error)])
