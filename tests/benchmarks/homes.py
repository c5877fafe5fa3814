"""Node homes made straight through the library: what `init`, `enrol token` and `node join` leave on disk, for N nodes at once.

Measuring starts where joining ends, so the minutes of typing are skipped. All else is as the commands leave it: a root with
the enrol key's CA, an enrolment and a link certificate a node, and a store that holds the chain and the first records.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import workshop
from msgspec.structs import replace

from faramesh_cli.demo.ports import free_ports
from faramesh_mesh.records.body import digest_of
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.record import Record
from faramesh_mesh.runtime.certificates import link_pem
from faramesh_mesh.runtime.config import NodeHomeConfig
from faramesh_mesh.runtime.home import Home
from faramesh_mesh.runtime.issuing import authority_certificate, node_certificate
from faramesh_mesh.runtime.journal_row import first_journal
from faramesh_mesh.runtime.store import Batch, Store
from faramesh_mesh.trust.keys import Signer, signer_from_seed

REGIONS = ("eu", "us", "ap")
FIRST = "ops"
ENROLLER = "enrol"
SEEDS = 3
"""Addresses that every node is told: any one of them up is enough to find the rest."""


@dataclass(frozen=True, slots=True)
class Member:
    """One node to be: its name is also its agent's."""

    name: str
    region: str
    home: Path
    address: str
    node: KeyId

    @property
    def socket(self) -> Path:
        """Where its control API listens on this machine."""
        return Home(self.home).find_control_socket()


@dataclass(frozen=True, slots=True)
class Plan:
    """A mesh on disk: its operator's author, who has seen all that is there, and its members."""

    author: workshop.Workshop
    members: tuple[Member, ...]

    @property
    def operator(self) -> Signer:
        """The key that signs everything but enrolments."""
        return workshop.signer(FIRST)


def seed_of(name: str) -> bytes:
    """The private seed behind `workshop.signer(name)`."""
    return sha256(f"test key {name}".encode()).digest()


def plan_mesh(folder: Path, nodes: int, regions: Sequence[str] = REGIONS, policy: str | None = None) -> Plan:
    """A mesh of so many nodes, spread over the regions in turn, each with one agent. With `policy` all decide by it from the
    start. Nothing runs yet and nothing is on disk before `write_home`."""
    document = replace(
        workshop.root(workshop.starter_keys()), authorities=(authority_certificate(seed_of(ENROLLER)),)
    )
    author = workshop.Workshop(workshop.chain_of(document))
    members = []
    for number, port in enumerate(free_ports(nodes)):
        name, region = f"n{number:02}", regions[number % len(regions)]
        author.enrol(name, region)
        members.append(
            Member(name, region, folder / name, f"127.0.0.1:{port}", workshop.node_signer(name).id)
        )
    if policy is not None:
        author.push(author.policy(policy), tuple(member.name for member in members))
    return Plan(author, tuple(members))


def write_home(plan: Plan, member: Member, proxy: str = "", records: Sequence[Record] | None = None) -> None:
    """Make a member's home. It begins with all that the author holds, or with `records` only."""
    held = tuple(plan.author.records.in_order()) if records is None else tuple(records)
    signer = workshop.node_signer(member.name)
    link_seed = sha256(b"link" + signer.public).digest()
    certificate = node_certificate(
        seed_of(ENROLLER),
        plan.author.chain.mesh,
        signer.id,
        signer_from_seed(link_seed).public,
        time.time_ns() // 1_000_000,
    )
    home = Home(member.home)
    home.create()
    home.write_seed(seed_of(f"node {member.name}"))
    home.write_link(link_pem(link_seed, certificate))
    home.write_config(
        NodeHomeConfig(
            agent=member.name,
            listen=member.address,
            advertise=member.address,
            seeds=tuple(other.address for other in plan.members[:SEEDS] if other is not member),
            proxy=proxy,
        )
    )
    store = Store.open(home.database)
    bodies = {digest_of(body): body for body in _bodies(plan)}
    store.commit(
        Batch(
            roots=plan.author.chain.envelopes,
            records=tuple((record.id, record.envelope) for record in held),
            bodies=tuple(bodies.items()),
            journal=first_journal(store),
        )
    )
    store.close()
    home.write_pin(plan.author.chain.mesh)


def _bodies(plan: Plan) -> list[bytes]:
    digests = {
        digest
        for record in plan.author.records.in_order()
        for digest in (getattr(record.payload, "digest", None), getattr(record.payload, "roster", None))
        if digest is not None
    }
    return [body for digest in sorted(digests) if (body := plan.author.bodies.get(digest)) is not None]
