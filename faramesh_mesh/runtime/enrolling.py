"""Enrolment as a running node does it: what its enroller sees of it, and the renewal of its own certificate."""

import os

import trio
from nacl.bindings import crypto_sign_seed_keypair

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.effects import Outcome
from faramesh_mesh.records.enrolment import Duty
from faramesh_mesh.records.ids import KeyId, MeshId
from faramesh_mesh.runtime import clock
from faramesh_mesh.runtime.credentials import UNUSABLE, Credentials
from faramesh_mesh.runtime.driver import DialError, Driver, Opened
from faramesh_mesh.runtime.enrol import Binding, EnrolError, renew
from faramesh_mesh.runtime.enroller import Enroller
from faramesh_mesh.runtime.listener import dial_to_enrol
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.storage import Storage
from faramesh_mesh.runtime.store import Authored
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer, verify

LOOK_SECONDS = 60.0
"""Between looks at the certificate's age, and between attempts to renew it: half of a lifetime is 720 of them."""


class NodeRegistry:
    """A running node, as `enroller.Registry` wants it."""

    def __init__(
        self,
        driver: Driver,
        storage: Storage,
        own: KeyId,
        address: str,
        key: KeyId | None,
        authored: dict[KeyId, Authored],
    ) -> None:
        self._driver = driver
        self._storage = storage
        self._own = own
        self._address = address
        self._key = key
        kept = None if key is None else authored.get(key)
        self._authored = None if kept is None else kept.envelope

    @property
    def chain(self) -> RootChain:
        """The node's chain of roots."""
        return self._driver.node.records.chain

    @property
    def records(self) -> RecordSet:
        """The records it holds."""
        return self._driver.node.records

    @property
    def fleet(self) -> Fleet:
        """Its views over them."""
        return self._driver.node.fleet

    @property
    def ready(self) -> bool:
        """Whether it has synced."""
        return self._driver.node.ready

    def wall_ms(self) -> int:
        """The wall clock."""
        return clock.wall_ms()

    def authored(self) -> bytes | None:
        """The last record that the enrol key signed here."""
        return self._authored

    async def keep_authored(self, envelope: bytes) -> None:
        """Make it durable, before the record is offered."""
        if self._key is not None:
            self._authored = envelope
            self._storage.keep(authored=(Authored(self._key, envelope),))
            await self._storage.settled()

    async def offer(self, envelopes: tuple[bytes, ...]) -> tuple[Outcome, ...]:
        """Hand records to the node; returns once what was admitted is durable."""
        return await self._driver.offer(envelopes)

    def peers(self) -> tuple[str, ...]:
        """This node's own address, and those of its peers."""
        peers = (peer.address for peer in self._driver.node.peers())
        return tuple(dict.fromkeys(address for address in (self._address, *peers) if address))

    def enrollers(self) -> tuple[str, ...]:
        """Addresses of other nodes that enrol, as their statuses say."""
        found: dict[str, None] = {}
        fleet = self.fleet
        for agent in fleet.agents():
            enrolled = fleet.enrolled(agent)
            if enrolled is None or Duty.ENROL not in enrolled.enrolment.duties:
                continue
            node = enrolled.enrolment.node_id
            status = self._driver.node.statuses.get(node)
            if node != self._own and status is not None and status.payload.address:
                found[status.payload.address] = None
        return tuple(found)


class EnrolLane:
    """Serves the enrol lane, and logs what became of each connection."""

    def __init__(self, enroller: Enroller, log: Log) -> None:
        self._enroller = enroller
        self._log = log

    async def serve(self, opened: Opened) -> None:
        """Serve one connection."""
        stream, peer = opened
        served = await self._enroller.serve(stream, Binding(peer.ours, peer.theirs))
        if served.refusal is None:
            event = "certificate renewed" if served.renewal else "enrolled"
            self._log.info(event, who=served.who, detail=served.detail)
        else:
            self._log.limited(
                "enrol", "enrolment refused", who=served.who, why=served.refusal.value, detail=served.detail
            )


class Renewal:
    """Renews the node's certificate at half of its lifetime, for as long as the node runs."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        registry: NodeRegistry,
        node: Signer,
        enrol_seed: bytes | None,
        proxy: str,
        seeds: tuple[str, ...],
        log: Log,
    ) -> None:
        self._credentials = credentials
        self._registry = registry
        self._node = node
        self._enrol_seed = enrol_seed
        self._proxy = proxy
        self._seeds = seeds
        self._log = log

    async def run(self) -> None:
        """Look after the certificate until cancelled."""
        while True:
            if clock.wall_ms() >= self._credentials.shown.renew_at:
                await self._try_to_renew()
            await trio.sleep(LOOK_SECONDS)

    async def _try_to_renew(self) -> None:
        """A home that cannot be written or read costs this attempt, never the node: it still shows the old
        certificate."""
        try:
            await self._renew()
        except UNUSABLE as error:
            why, effect = str(error), "the old one is still shown; tried again in a minute"
            self._log.limited("renew", "certificate not renewed", at="the home", why=why, effect=effect)

    async def _renew(self) -> None:
        seed = os.urandom(32)
        link_public, _ = crypto_sign_seed_keypair(seed)
        chain = self._registry.chain
        if self._enrol_seed is not None:
            self._credentials.replace(seed, await self._issue(self._enrol_seed, chain.mesh, link_public))
            self._log.info("own certificate renewed", by="this node")
            return
        for address in dict.fromkeys((*self._registry.enrollers(), *self._seeds)):
            try:
                stream, peer = await dial_to_enrol(address, self._proxy, chain.mesh)
                async with stream:
                    binding = Binding(peer.ours, peer.theirs)
                    joined = await renew(
                        stream, binding, chain, self._node, link_public, os.urandom(32), verify
                    )
            except (DialError, EnrolError) as error:
                self._log.limited("renew", "certificate not renewed", at=address, why=str(error))
                continue
            self._credentials.replace(seed, joined.certificate)
            self._log.info("own certificate renewed", by=address)
            return
        if clock.wall_ms() >= self._credentials.shown.expires_at:
            self._log.limited("lapsed", "certificate has run out", effect="kills still reach this node")

    async def _issue(self, enrol_seed: bytes, mesh: MeshId, link_public: bytes) -> bytes:
        from faramesh_mesh.runtime.issuing import node_certificate  # noqa: PLC0415 - late: it costs 8 MiB

        return await trio.to_thread.run_sync(
            node_certificate, enrol_seed, mesh, self._node.id, link_public, clock.wall_ms()
        )
