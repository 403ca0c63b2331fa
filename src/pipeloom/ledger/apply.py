"""Turn a batch of items from the channel into a few SQL statements.

::

    items ─▶ fold ─▶ states of tasks ▸ the run's counts ▸ users' rows, statements and messages, in their order

Runs in the writer's thread, inside the writer's transaction; nothing here begins, commits or rolls back. Changes in
memory are recorded in that transaction and undone by a rollback, so a lost batch can be applied again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pipeloom.data.found import Found
from pipeloom.data.image import Stretch
from pipeloom.data.rows import Block, Statement, blocks_from
from pipeloom.data.spool import Spool
from pipeloom.data.text import clean, describe, kind_of
from pipeloom.data.values import Params, adapt_params
from pipeloom.db.failures import is_fatal
from pipeloom.db.transaction import Transaction
from pipeloom.errors import RowRefusedError
from pipeloom.ledger.attempt import Attempt, Snapshot
from pipeloom.ledger.fold import Batch, fold
from pipeloom.ledger.found import FoundInputs
from pipeloom.ledger.guard import Guard
from pipeloom.ledger.rejections import Rejections, reason_of
from pipeloom.ledger.runs import RunLedger, RunSpec
from pipeloom.ledger.tables import StagedOutput, Tables, UserTables
from pipeloom.ledger.tasks import TaskTable
from pipeloom.messages import Handler, MsgExecute, MsgWriteRows
from pipeloom.statuses import DONE
from pipeloom.wire import Stranger

__all__ = ["Ledger"]

_PARTS: Final = frozenset({Block, Statement, Stretch, Found})
_STEPS: Final = 100_000  # of SQLite's machine: about a millisecond


class Ledger:
    """Everything that is written to the file: ledger tables and users' tables.

    Args:
        conn: The writer's connection.
        transaction: The writer's transactions.
        store_task_status: Write the ledger's own tables; otherwise only users' tables are written.
        handlers: Message type → handler, for the user's own message types.
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
        self.transaction = transaction
        self.guard = Guard(conn)
        self.tasks = TaskTable(conn, transaction) if store_task_status else None
        self.tables = UserTables(conn, transaction, self.guard, has_ledger=store_task_status)
        self.rejections = Rejections(transaction, has_ledger=store_task_status)
        self.run: RunLedger | None = None
        self._handlers = dict(handlers or {})
        self._warned: frozenset[str] = frozenset()

    def open_run(self, spec: RunSpec, tables: Tables, *, alter: bool = False) -> RunLedger:
        """Create the declared tables, with ``alter`` also missing columns, and begin a run."""
        if spec.owned:
            self.tables.own_rows(spec.owned)
        self.tables.declare(tables, alter=alter)
        self.run = RunLedger(self.conn, self.transaction, self.tasks, spec)
        self.rejections.run_id = self.run.run_id
        return self.run

    def _forget_schema(self) -> None:
        """Drop the cached schema and the pending rows: a rollback may have restored an earlier schema."""
        self.tables.forget()
        self.tables.warnings.clear()
        self.guard.forget()

    def apply(self, items: Iterable[object], *, with_live: bool = True) -> Batch:
        """Write a batch: states first, then users' rows, statements and messages in their order.

        Args:
            items: Items from the channel.
            with_live: This is the whole batch, so the running attempts and the run's counts are written too.

        Raises:
            Exception: Whatever a user's value, statement or handler raises. The caller rolls back, finds the item
                at fault, and checks whether the error is fatal.
        """
        batch = fold(items, self._handlers)
        for attempt in batch.spoiled:
            assert attempt.refused is not None
            reason = reason_of(attempt.refused)
            self.transaction.note(attempt, **attempt.failed(attempt.refused, reason, reason))
        if self.run is not None and with_live:
            batch.live = self.run.board.news()
        if batch.checkpoints:
            self._show_checkpoints(batch)
        if self.tasks is not None:
            self._write_tasks(self.tasks, batch)
        self._note_ends(batch.finished)
        self._note_live(batch.live)
        if self.run is not None and with_live:
            self.run.store_counts(batch.finished)
        if batch.actions or batch.replacing:
            self._act(batch, is_alone=not with_live)
        return batch

    def _show_checkpoints(self, batch: Batch) -> None:
        """Write the rows of tasks that reach a checkpoint, since a stored state needs a task to belong to."""
        for checkpoint in batch.checkpoints:
            attempt = checkpoint.attempt
            self.transaction.note(attempt, rows_kept=attempt.rows_kept + checkpoint.rows, has_state=True)
        shown = {*batch.finished, *(snapshot.attempt for snapshot in batch.live)}
        kept = dict.fromkeys(checkpoint.attempt for checkpoint in batch.checkpoints)
        batch.live += [attempt.snapshot() for attempt in kept if attempt not in shown]

    def _note_ends(self, finished: Sequence[Attempt]) -> None:
        """Refuse checkpoints that arrive after these ends. One note for all: every task passes through here."""
        ended = [attempt for attempt in finished if not attempt.fenced]
        if not ended:
            return
        for attempt in ended:
            attempt.fenced = True

        def open_again() -> None:
            for attempt in ended:
                attempt.fenced = False

        self.transaction.if_lost(open_again)

    def _note_live(self, live: Iterable[Snapshot]) -> None:
        for attempt, number, started_at, progress in live:
            self.transaction.note(attempt, recorded=(number, started_at), shown=progress)

    def _write_tasks(self, tasks: TaskTable, batch: Batch) -> None:
        for said in batch.heard:
            tasks.put_said(said)
        if not (batch.finished or batch.live):
            return
        own = [attempt for attempt in batch.finished if attempt.row != "none"]
        if batch.checkpoints:
            tasks.put_states(batch.checkpoints)
        rest = own
        while twice := _said_twice(rest) if tasks.pipeline_id is None else 0:
            tasks.put_attempts(rest[:twice], ())
            rest = rest[twice:]
        tasks.put_attempts(rest, batch.live)
        if self.run is not None and self.run.versions is not None and self.run.versions.are_kept:
            stored = [attempt for attempt in own if attempt.status == DONE]
            self.run.versions.put(dict.fromkeys([*stored, *(each.attempt for each in batch.checkpoints)]))
        batch.logged = tasks.put_logs([*own, *(snapshot.attempt for snapshot in batch.live)])
        for attempt in batch.finished:
            if attempt.row == "none":
                tasks.withdraw_stand_in(attempt)
                self.rejections.keep_input(attempt)

    # --- users' rows, statements and messages ---

    def _act(self, batch: Batch, *, is_alone: bool) -> None:
        """Apply users' output in order; consecutive messages of one type go to one handler call."""
        self.transaction.open()
        self.transaction.if_lost(self._forget_schema)
        self.tables.begin(is_alone=is_alone)
        try:
            if batch.replacing:
                self.tables.take_back([attempt.task_id for attempt in batch.replacing])
            for attempt in batch.replacing:
                self.transaction.note(attempt, replaces=False)
            self._act_in_order(batch)
        finally:
            self.tables.clear()
            if self._found is not None:
                self._found.clear()
        batch.warnings += self.tables.warnings
        self.tables.warnings.clear()

    def _act_in_order(self, batch: Batch) -> None:
        together: list[object] = []
        for action, output in batch.actions:
            kind = type(action)
            if together and kind is not type(together[0]):
                self._handle(together)
                together = []
            if kind in _PARTS:
                self._store(action, output)
            elif kind is Spool:
                self._act_from(action, output)
            elif kind is MsgExecute:
                self._execute(Statement(action.sql, adapt_params(action.params)), output)
            elif kind is MsgWriteRows:
                blocks = blocks_from(action)
                output_of_message = StagedOutput(blocks)
                for block in blocks:
                    self.tables.add(block, output_of_message)
            elif kind in self._handlers:
                together.append(action)
            else:
                self._meet_stranger(action, batch)
        if together:
            self._handle(together)
        self._flush()

    def _act_from(self, spool: Spool, output: StagedOutput) -> None:
        """Apply the output that one task spooled to a file; each chunk is released before the next one is read."""
        for chunk in spool.chunks():
            self.transaction.check_wanted()
            for part in chunk:
                self._store(part, output)
            self._flush()
            self.tables.clear()
            del chunk

    def _store(self, part: Block | Statement | Stretch | Found, output: StagedOutput) -> None:
        if isinstance(part, Block):
            self.tables.add(part, output)
        elif isinstance(part, Statement):
            self._execute(part, output)
        elif isinstance(part, Stretch):
            self.tables.add_stretch(part, output)
        elif self._found is not None:  # otherwise the context refuses them
            assert part.entries is not None  # filled in when the task's end was received
            self._found.add(part.entries, output.owner)

    def _flush(self) -> None:
        """Store the pending rows and found inputs."""
        self.tables.flush()
        if self._found is not None:
            self._found.flush()

    @property
    def _found(self) -> FoundInputs | None:
        return None if self.run is None else self.run.found

    def _execute(self, statement: Statement, output: StagedOutput) -> None:
        self.tables.flush()
        self.tables.clear(but=output)
        self.guard.run(*statement)
        self._after_users_sql()

    def _handle(self, messages: list[object]) -> None:
        self.tables.flush()
        self.tables.clear()
        handler = self._handlers[type(messages[0])]
        try:
            with self.guard.handler():
                handler(self.conn, messages)
        except BaseException as error:  # sys.exit() in a handler must not end the writer
            if is_fatal(error) and not self.conn.in_transaction:  # our file: a handler may also use other files
                raise
            name = getattr(handler, "__qualname__", type(handler).__name__)
            raise RowRefusedError(f"handler {clean(name, 80)}: {kind_of(error)}: {reason_of(error)}") from error
        finally:
            self.conn.row_factory, self.conn.text_factory = None, str  # a handler may have set others
        self._after_users_sql()

    def _after_users_sql(self) -> None:
        """Check what an authorizer cannot see: a lost transaction, and a table renamed to a reserved name."""
        if not self.conn.in_transaction:
            raise RowRefusedError("the statement ended the writer's transaction (ON CONFLICT ROLLBACK?)")
        if self.guard.schema_touched:  # checking each time would take longer than most statements
            self.tables.forget()
            self.guard.check_names()

    def _meet_stranger(self, message: object, batch: Batch) -> None:
        kind, text = message if type(message) is Stranger else (type(message).__name__, describe(message))
        if kind not in self._warned:
            self.transaction.note(self, _warned=self._warned | {kind})
            name = clean(kind, 80)
            batch.warnings.append(
                f"messages of the unknown type {name} are not stored: pass handlers={{{name}: fn}} to store them"
            )
        self.rejections.keep(None, kind, text, "unknown message type")

    def query(self, sql: str, params: Params, give_up: Callable[[], bool]) -> list[tuple[Any, ...]]:
        """Run a task's query on committed data; between transactions.

        Args:
            sql: The query.
            params: Its parameters, storable.
            give_up: Called every few milliseconds; a true result aborts a query that no task waits for any more.

        Returns:
            n rows, 0 or more.

        Raises:
            RowRefusedError: The statement writes.
            sqlite3.Error: As raised by SQLite.

        Source: https://www.sqlite.org/pragma.html#pragma_query_only
        """
        self.conn.execute("PRAGMA query_only = ON")
        self.conn.set_progress_handler(give_up, _STEPS)
        try:
            with self.guard.statement(sql, params) as cursor:
                return cursor.fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
                raise RowRefusedError("query() can only read: use execute() or write() to change data") from error
            raise
        finally:
            self.conn.set_progress_handler(None, 0)
            self.conn.execute("PRAGMA query_only = OFF")

    def written_tables(self) -> set[str]:
        """Return the names of the tables that were written to."""
        own = {"task_runs"} if self.tasks is not None and self.tasks.written else set()
        return own | self.guard.changed

    def state_of(self, number: int) -> str | None:
        """Return the state of a task's last checkpoint as JSON; ``None`` if it has none."""
        return None if self.tasks is None else self.tasks.state_of(number)

    def show_live(self, snapshot: Snapshot) -> Batch:
        """Write one running attempt's state and log lines; inside a transaction."""
        batch = Batch()
        if self.tasks is not None:
            batch.live.append(snapshot)
            self.tasks.put_attempts((), batch.live)
            batch.logged = self.tasks.put_logs([snapshot.attempt])
            self._note_live(batch.live)
        return batch


def _said_twice(attempts: Sequence[Attempt]) -> int:
    """Return the index of the first attempt whose number occurred before; 0 if there is none.

    The earlier attempt of that number is then archived as a past one.
    """
    numbers = [attempt.task_id for attempt in attempts if attempt.row != "provisional"]
    if len(set(numbers)) == len(numbers):
        return 0
    seen: set[int] = set()
    for place, attempt in enumerate(attempts):
        if attempt.row != "provisional" and attempt.task_id in seen:
            return place
        seen.add(attempt.task_id)
    return 0
