"""Bugs in what is held, admitted, kept and reconciled."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace

from msgspec import structs
from sim.seeded_bugs.bug import bug, replaced

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip import (
    flood,
    holdings,
    liveness,
    offers,
    readiness,
    reconcile,
    status_table,
    timers,
)
from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.node import Node
from faramesh_mesh.gossip.own_status import OwnStatus
from faramesh_mesh.records.envelope import open_header
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.rejection import Reason, Rejected
from faramesh_mesh.runtime import restore
from faramesh_mesh.state import record_set
from faramesh_mesh.state.authoring import NO_CHAIN
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust import admission
from faramesh_sim import operate, operator


@bug("DURABILITY", "KILLED_PERMIT")
def kill_dropped_at_restart():
    """A restart loads every record but the kills."""

    def made(original):
        def records(loaded, *rest):
            kept = tuple((key, data) for key, data in loaded.records if _kind(data) is not Kind.KILL)
            return original(replace(loaded, records=kept), *rest)

        return records

    return replaced(restore, "_records", made)


def _kind(data: bytes) -> Kind:
    header = open_header(data)
    assert not isinstance(header, Rejected)
    return header[0]


@bug("PAIRWISE", "CONVERGENCE", "SAME_RECORDS_SAME_DECISION")
def fingerprint_misses_cosigns():
    """Cosignatures are not part of the fingerprint: what a flood missed of them is never repaired."""

    def made(original):
        def place(self, record, surplus):
            original(self, record, surplus)
            if record.kind is Kind.COSIGN:
                self.trie.remove(record.id)

        return place

    return replaced(record_set.RecordSet, "_place", made)


@bug("PAIRWISE", "CONVERGENCE")
def nothing_is_reconciled():
    """Two nodes that differ take themselves for equal: what a flood missed stays missing."""
    return replaced(reconcile.Reconcile, "compare", lambda _original: lambda *_arguments: True)


@bug("UNSIGNED_EFFECT")
def forward_before_verify():
    """Records are admitted, and passed on, without looking at their signatures."""
    return replaced(admission, "_proven", lambda _original: lambda _claimed, key, _verify: key)


@bug("GENUINE_REFUSED", "CONVERGENCE", "CONTAINMENT")
def clock_used_in_admission():
    """A record is refused whose signer's clock is off from the local one by more than two seconds."""
    walls: dict[int, int] = {}

    def watching(original):
        def handle(self, event, now):
            walls[id(self.fleet)] = now.wall
            return original(self, event, now)

        return handle

    def judging(original):
        def keep(self, record):
            if (
                not isinstance(record, Rejected)
                and abs(record.head.at - walls.get(id(self.fleet), record.head.at)) > 2_000
            ):
                return Rejected(Reason.OVER_QUOTA, "of another time")
            return original(self, record)

        return keep

    @contextmanager
    def both():
        with ExitStack() as stack:
            stack.enter_context(replaced(Node, "handle", watching))
            stack.enter_context(replaced(holdings.Holdings, "_keep", judging))
            yield

    return both()


@bug("DURABILITY")
def acknowledged_before_durable():
    """A client is told that its record is durable as soon as the node holds it."""

    def made(_original):
        def answers(self):
            ready = [each for _, each in self._waiting]
            self._waiting = []
            return ready

        return answers

    return replaced(offers.Offers, "answers", made)


@bug("FORKED_CHAIN")
def older_view_reuses_a_number():
    """An operator's client knows its chain from the node it speaks to alone, and keeps neither journal nor records."""

    def unjournalled(original):
        return lambda records, key, at, _journalled=NO_CHAIN: original(records, key, at)

    def learning(original):
        def learn(self, by, via):
            for name in by:
                client = self._world.operator(name)
                client.records = RecordSet(client.records.chain)
                client.fleet = Fleet(client.records, client.bodies)
            original(self, by, via)

        return learn

    @contextmanager
    def all_three():
        with ExitStack() as stack:
            stack.enter_context(replaced(operate.Operations, "_learn", learning))
            for name in ("next_head", "head_of_kill"):
                stack.enter_context(replaced(operator, name, unjournalled))
            yield

    return all_three()


@bug("STATUS_TRUTH")
def older_disk_keeps_its_incarnation():
    """A node whose disk forgot its lives does not outlive the statuses of those lives that others hold."""
    return replaced(OwnStatus, "outlive", lambda _original: lambda _self, _incarnation: None)


@bug("STATUS_TRUTH")
def oldest_status_wins():
    """A status in the table is never replaced by a newer one of the same life."""

    def made(original):
        def put(self, status):
            held = self._slots.get(status.node)
            if held is not None and held.payload.incarnation == status.payload.incarnation:
                return False
            return original(self, status)

        return put

    return replaced(status_table.StatusTable, "put", made)


@bug("NO_CRASH", "STATUS_TRUTH", "CONVERGENCE", "AVAILABILITY")
def stale_timer_honoured():
    """A timer rings although it was set anew since."""
    return replaced(timers.Timers, "_is_current", lambda _original: lambda _self, _alarm, _token: True)


@bug("STALE_START", "KILLED_PERMIT")
def ready_at_once():
    """A node permits as soon as it has started, whatever it missed."""

    def made(_original):
        def settle(self, _mono, **_expects):
            was, self.ready = self.ready, self._members.is_own_member
            return self.ready and not was

        return settle

    return replaced(readiness.Readiness, "settle", made)


@bug("CONVERGENCE")
def flood_of_forks_keeps_the_first():
    """Of too many records under one number those stay that came first, not those with the smallest ids."""

    def made(original):
        def surplus(self, slot):
            found = original(self, slot)
            return found and next((held for held in slot if held.id not in self._order), found)

        return surplus

    return replaced(record_set.RecordSet, "_surplus", made)


@bug("PAIRWISE", "CONTAINMENT", "CONVERGENCE")
def kill_that_a_flood_missed_stays_missed():
    """Kills go to one neighbour only, and nodes that differ take themselves for equal."""

    def spreading(original):
        def mark(self, link, record_id, mono):
            others = [each for each in self._links.all.values() if record_id in each.urgent]
            if not others:
                original(self, link, record_id, mono)

        return mark

    @contextmanager
    def both():
        with ExitStack() as stack:
            stack.enter_context(replaced(reconcile.Reconcile, "compare", lambda _original: lambda *_: True))
            stack.enter_context(replaced(flood.Flood, "_mark_urgent", spreading))
            yield

    return both()


@bug("MEMORY")
def watches_outlive_their_links():
    """What was measured of a link is kept when the link has ended."""

    def made(original):
        def on_down(self, link, mono, *, lost):
            watch = self._watches.get(link.id)
            original(self, link, mono, lost=lost)
            if watch is not None:
                self._watches[link.id] = watch

        return on_down

    return replaced(liveness.Liveness, "on_down", made)


@bug("BANDWIDTH")
def statuses_are_signed_although_nothing_is_new():
    """A node signs its status each second, whether it has anything new to say or not."""

    def made(original):
        def sign(self, now, durable, *, ready):
            if self._last is not None:
                self._last = structs.replace(self._last, software="another")
            self._timers.sooner(timers.Alarm.SIGN, now.mono + SECOND)
            return original(self, now, durable, ready=ready)

        return sign

    return replaced(OwnStatus, "sign", made)


@bug("PAIRWISE")
def who_was_dialled_repairs_nothing():
    """Records that a comparison shows to be missing are sent by whoever dialled the link, and by nobody else. In a fleet some link
    goes the other way."""

    def made(original):
        def send(self, link, ids, mono):
            if link.dialled is not None:
                original(self, link, ids, mono)

        return send

    return replaced(flood.Flood, "send", made)
