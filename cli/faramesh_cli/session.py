"""The operator's client: syncs with any node, verifies what it gets, signs, and delivers.

open cache -> connect to the first that answers -> pull what is missing -> [sign, journal] -> offer to three nodes

No node can keep it: a sync has a deadline, after which the next known node is asked, and one that hurries
signs from the cache.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import trio

from faramesh_cli.command import Shell
from faramesh_cli.delivery import Courier, Delivery
from faramesh_cli.exits import ExitCode
from faramesh_cli.keyring import HeldKey, open_key
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.output import now_ms
from faramesh_cli.peers import Identity, first_that_answers, identify, name_of, refused_by, targets
from faramesh_cli.refusal import Refusal
from faramesh_cli.roles import spelled
from faramesh_cli.troubles import trouble
from faramesh_mesh.fleet.fleet import bodies_of
from faramesh_mesh.records.chain import Head
from faramesh_mesh.records.ids import Digest, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Control, Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.records.role import Role
from faramesh_mesh.runtime.control.client import ControlClient
from faramesh_mesh.runtime.control.errors import ControlError, Refused, Unreachable
from faramesh_mesh.runtime.operator_cache import Held, OperatorCache, OperatorHomeError
from faramesh_mesh.runtime.operator_home import OperatorHome
from faramesh_mesh.state.authoring import ChainEnd, head_of_kill, next_head
from faramesh_mesh.trust.admission import admit, sign_control

Draft: TypeAlias = tuple[Kind, Callable[[Head, tuple[Record, ...]], Control]]
"""A record to be signed: makes the payload from its head and the records signed before it in the same command."""

_KEPT = "what was signed, if anything, is kept here and offered again by the next command"
SYNC_SECONDS = 60.0
"""How long one node may take to show all that it holds: a first pull of a hundred thousand records takes ten.
What came until then is kept, and the next node goes on from it."""
HURRIED_SECONDS = 3.0
"""How long a kill waits for news before it is signed with what is known here already."""
_POLL_SECONDS = 0.02
_POLL_SECONDS_PER_NODE = 0.000_5
"""How often statuses are heard while waiting: often in a small mesh, once a second in one of two thousand nodes."""
_JOINED_SINCE = 1_024
"""Statuses beyond one for each record held: those of nodes that were enrolled since the last pull."""


@dataclass(slots=True)
class Session:
    """An open conversation with the mesh. Made by `open_session`.

    One that `hurries` waits for news for a few seconds only, and asks for no bodies. `outdated` says why what
    is known may be older than what the mesh holds; it is empty after a sync.
    """

    shell: Shell
    identity: Identity
    known: Knowledge
    client: ControlClient
    cache: OperatorCache | None
    signs: bool
    _stack: AsyncExitStack
    hurries: bool = False
    outdated: str = ""
    _gone: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The mesh's name."""
        return self.known.records.chain.current.name

    @property
    def key(self) -> HeldKey:
        """The key that signs. A session that signs was opened for a role."""
        assert self.identity.key is not None  # noqa: S101 - see `identify`
        return self.identity.key

    async def start(self) -> None:
        """Pull, hear, and offer again what an earlier command could not make durable."""
        await (self._sync_in_a_hurry() if self.hurries else self._sync_with_any())
        if self.cache is None:
            return
        reached = () if self.client.target.startswith("unix:") else (self.client.target,)
        self.cache.keep([], {}, dict.fromkeys((*self.known.addresses(), *reached), now_ms()))
        pending = self._take_in_outbox(self.cache)
        if (
            pending and not self.signs
        ):  # a command that signs offers it with what it signs, and is not held up
            delivery = await self.deliver()
            if delivery.news:
                told = ", ".join(record.short for record in pending)
                self.shell.terminal.progress(f"offered again what was signed before: {told}, {delivery}")

    async def refresh(self, *, records: bool = True) -> None:
        """Hear the statuses anew, and pull. When the node that answered is gone, another one is asked."""
        try:
            with trio.fail_after(SYNC_SECONDS):
                await (self._sync() if records else self._hear())
        except trio.TooSlowError:
            await self._ask_another(self._too_slow())
        except ControlError as error:
            await self._ask_another(error)
        else:
            self.outdated = "" if records else self.outdated
            return
        await self._sync_with_any()

    async def wait(self, done: Callable[[], bool], timeout_ms: int, *, records: bool = False) -> bool:
        """Hear statuses again and again until `done`, at most so long, and while any node answers. Whether it
        came about."""
        with trio.move_on_after(timeout_ms / 1_000):
            while not done():
                await trio.sleep(min(1.0, _POLL_SECONDS + _POLL_SECONDS_PER_NODE * len(self.known.heard)))
                try:
                    await self.refresh(records=records)
                except (ControlError, Refusal) as error:
                    self.shell.terminal.warn(f"{error}; what was seen until now is all that is known")
                    break
        return done()

    def sign_as(self, roles: tuple[Role, ...], wanted: str | None) -> None:
        """Sign with a key that has one of these roles: the one that opened the session, or else another one
        of this home, unless the operator named one (`wanted`)."""
        entry = self.known.records.chain.key(self.key.signer.id)
        if entry is not None and not entry.roles.isdisjoint(roles):
            return
        if wanted is not None:
            raise Refusal(
                f"key {self.key.name} lacks the role {spelled(roles)}",
                unchanged="nothing was signed",
                todo="name a key that has it with --key: see faramesh-mesh root show",
                exit_code=ExitCode.NOT_AUTHORISED,
            )
        home, _ = self._signing()
        self.identity = replace(self.identity, key=open_key(self.shell, home, roles))

    def sign(self, drafts: Sequence[Draft], bodies: Sequence[bytes] = ()) -> tuple[Record, ...]:
        """Sign records one after the other and journal them, all before anything is sent."""
        home, cache = self._signing()
        records, key = self.known.records, self.key.signer
        held = {self.known.bodies.put(body): body for body in bodies}
        signed: tuple[Record, ...] = ()
        with home.signing():
            journalled = cache.journalled(key.id)
            for kind, draft in drafts:
                make = head_of_kill if kind is Kind.KILL else next_head
                try:
                    payload = draft(make(records, key.id, now_ms(), journalled), signed)
                    record = sign_control(kind, payload, records.chain.mesh, key)
                except ValueError as error:
                    raise Refusal(
                        str(error),
                        unchanged="nothing was signed",
                        todo="see how the fleet stands with faramesh-mesh fleet status, then run it again",
                        exit_code=ExitCode.REFUSED,
                    ) from None
                records.add(record)
                self.known.fleet.apply(record)
                journalled = ChainEnd(record.head.seq, record.id)
                signed = (*signed, record)
            cache.sign(signed, held)
        return signed

    async def deliver(self) -> Delivery:
        """Offer all that is in the outbox until enough nodes hold it durably."""
        _, cache = self._signing()
        outbox = cache.outbox()
        signed = [self.known.records.get(held.id) for held in outbox]
        waits = any(record is not None and not record.kind.is_restriction for record in signed)
        members = self.known.fleet.nodes()
        dead = {node for node, heard in self.known.heard.items() if heard.is_dead}
        courier = Courier(
            self.identity,
            tuple(held.envelope for held in outbox),
            self._bodies_of([held.id for held in outbox]),
            nodes=max(1, len(members)),
            alive=max(1, sum(node not in dead for node in members)),
            past=self.known.records if waits else None,
        )
        delivery = await courier.deliver(self.client, self._targets())
        if self.signs and not delivery.is_enough:
            for trouble in courier.troubles[:3]:
                self.shell.terminal.progress(trouble)
        if delivery.is_enough:
            cache.sent(held.id for held in outbox)
        elif delivery.refused is not None:
            self.shell.terminal.warn(f"a node refused what was signed: {delivery.refused}")
        elif not delivery.durable:
            raise Refusal(
                f"no node has taken it: {'; '.join(courier.troubles[:2]) or 'no answer in time'}",
                unchanged="the fleet; what was signed is kept here and offered again by the next command",
                todo="faramesh-mesh fleet status --peer HOST:PORT, with a node that answers",
            )
        return delivery

    def _signing(self) -> tuple[OperatorHome, OperatorCache]:
        if self.identity.home is None or self.cache is None:
            raise Refusal(
                "only an operator's home can sign",
                unchanged="nothing was signed",
                todo="pass --home DIR",
                exit_code=ExitCode.NOT_AUTHORISED,
            )
        return self.identity.home, self.cache

    def _targets(self) -> list[str]:
        cached = [] if self.cache is None else self.cache.peers()
        return targets(self.shell, self.identity, (*self.known.addresses(), *cached))

    async def _sync_in_a_hurry(self) -> None:
        """Learn what there is to learn in a few seconds. What is known here is enough to sign a kill."""
        self.outdated = f"no node had shown all that it holds after {HURRIED_SECONDS:g} s"
        try:
            with trio.move_on_after(HURRIED_SECONDS) as sync:
                await self._sync_with_any()
            if sync.cancelled_caught:
                # Its answer was cut off. Another node comes first now; this one may be the only one, and only slow.
                self._gone.add(self.client.target)
                order = sorted(self._targets(), key=lambda target: target in self._gone)
                with trio.move_on_after(HURRIED_SECONDS):
                    self.client = await first_that_answers(self.shell, self.identity, order, self._stack)
        except (ControlError, Refusal) as error:
            self.outdated = str(error)
        if self.outdated:
            self.shell.terminal.warn(f"{self.outdated}: going on with what is known on this machine")

    async def _sync_with_any(self) -> None:
        """Sync with the node that is connected, or else with the first of the others that sees it through."""
        while True:
            try:
                with trio.fail_after(SYNC_SECONDS):
                    await self._sync()
            except trio.TooSlowError:
                await self._ask_another(self._too_slow())
            except ControlError as error:
                await self._ask_another(error)
            else:
                self.outdated = ""
                return

    def _too_slow(self) -> Unreachable:
        return Unreachable(
            f"{self.client.target}: it had not shown all that it holds after {SYNC_SECONDS:g} s"
        )

    async def _ask_another(self, error: ControlError) -> None:
        """Connect to a node that was not given up yet. Raises the error where none is left."""
        here = self.client.target
        self._gone.add(here)
        left = [target for target in self._targets() if target not in self._gone]
        refused = refused_by(here, error) if isinstance(error, Refused) else None
        if not left:
            raise refused or error
        self.shell.terminal.progress(f"{refused or error}; asking another node")
        self.client = await first_that_answers(self.shell, self.identity, left, self._stack)

    async def _sync(self) -> None:
        known = self.known
        fresh: list[Held] = []
        bodies: dict[Digest, bytes] = {}

        def take(record: Record) -> None:
            known.fleet.apply(record)
            fresh.append(Held(record.id, record.envelope))

        try:
            pulled = await self.client.pull_into(known.records, take)
            for refusal in pulled.refused[:1]:
                self.shell.terminal.warn(f"{self.client.target} sent a record that is left out: {refusal}")
            for digest in () if self.hurries else known.fleet.wanted_bodies():
                if digest not in known.bodies and (body := await self.client.body(digest)) is not None:
                    bodies[known.bodies.put(body)] = body
        finally:
            if self.cache is not None and self.identity.home is not None:
                self.cache.keep(fresh, bodies, {})
                self.identity.home.add_root(known.records.chain)
        await self._hear()
        self.keep_statuses()

    async def _hear(self) -> None:
        most = len(self.known.records) + _JOINED_SINCE
        self.known.hear(await self.client.statuses(most), name_of(self.client), self.client.node)

    def keep_statuses(self) -> None:
        """Remember the newest statuses seen, so that no later command takes an older one for news."""
        if self.cache is not None and self.known.fresh:
            self.cache.keep_statuses({node: live.envelope for node, live in self.known.fresh.items()})
            self.known.fresh.clear()

    def _take_in_outbox(self, cache: OperatorCache) -> list[Record]:
        """Know what was signed here before and may not be durable, whether or not the mesh has it."""
        records = [admit(held.envelope, self.known.records.chain, _trusted) for held in cache.outbox()]
        pending = [record for record in records if isinstance(record, Record)]
        for record in pending:
            if record.id not in self.known.records:
                self.known.records.add(record)
                self.known.fleet.apply(record)
        return pending

    def _bodies_of(self, ids: Sequence[RecordId]) -> tuple[bytes, ...]:
        records = [record for one in ids if (record := self.known.records.get(one)) is not None]
        digests = dict.fromkeys(digest for record in records for digest in bodies_of(record))
        return tuple(body for digest in digests if (body := self.known.bodies.get(digest)) is not None)


@asynccontextmanager
async def open_session(
    shell: Shell,
    role: Role | tuple[Role, ...] | None = None,
    key: str | None = None,
    *,
    hurries: bool = False,
) -> AsyncIterator[Session]:
    """Connect and sync. With a `role`, or several of which one will do, the key that will sign (`--key`) also opens the
    connection. One that `hurries` does not wait long for the sync where anything is known here."""
    roles = () if role is None else role if isinstance(role, tuple) else (role,)
    identity = identify(shell, roles, key)
    async with AsyncExitStack() as stack:
        try:
            cache = None
            if identity.home is not None:
                cache = stack.enter_context(identity.home.cache())
            order = targets(shell, identity, [] if cache is None else cache.peers())
            client = await first_that_answers(shell, identity, order, stack)
            known = Knowledge.under(client.chain)
            if cache is not None:
                load(cache, known)
            session = Session(shell, identity, known, client, cache, bool(roles), stack)
            session.hurries = hurries and len(known.records) > 0
            await session.start()
            yield session
            session.keep_statuses()
        except Refused as error:
            raise refused_by("the node", error) from None
        except ControlError as error:
            raise Refusal(
                str(error), unchanged=_KEPT, todo="ask another node with --peer HOST:PORT"
            ) from None
        except OperatorHomeError as error:
            raise Refusal(f"the operator's home: {error.wrong}", unchanged=_KEPT, todo=error.todo) from None
        except sqlite3.Error as error:
            raise trouble(error, _KEPT) from None


def load(cache: OperatorCache, known: Knowledge) -> None:
    """Take in the cache. What was damaged since shows by its id, is dropped, and comes again with the pull."""
    damaged: list[RecordId] = []
    for held in cache.records():
        record = admit(held.envelope, known.records.chain, _trusted)
        if isinstance(record, Rejected) or record.id != held.id:
            damaged.append(held.id)
            continue
        known.records.add(record)
        known.fleet.apply(record)
    cache.drop(damaged)
    for body in cache.bodies().values():
        known.bodies.put(body)
    known.recall(cache.statuses())


def _trusted(_public: bytes, _message: bytes, _signature: bytes) -> bool:
    """Stands for the signature check of what was verified before it was written; see `operator_cache`."""
    return True
