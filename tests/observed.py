"""A mesh as an operator's client knows it, without any node: records by `workshop`, statuses signed by the nodes."""

from dataclasses import dataclass, field

import workshop

from faramesh_cli.knowledge import Knowledge
from faramesh_cli.output import now_ms
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.chain import NO_EXTRA
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.status import AgentReport, Standing, Status
from faramesh_mesh.runtime.control.answers import Hearing, StatusEntry
from faramesh_mesh.trust.admission import sign_status


@dataclass
class Observed:
    """Agents report what they are told to; whoever is not told to report is silent."""

    shop: workshop.Workshop = field(default_factory=workshop.Workshop)
    entries: dict[str, StatusEntry] = field(default_factory=dict)

    def enrol(self, *agents: str, region: str = "eu", **labels: str) -> None:
        for agent in agents:
            self.shop.enrol(agent, region, **labels)

    def report(
        self,
        agent: str,
        *,
        policy: RecordId | None = None,
        rollout: RecordId | None = None,
        stage: int = 0,
        kills: tuple[RecordId, ...] = (),
        standing: Standing | None = None,
        nack: str = "",
        health: Hearing = Hearing.ALIVE,
        ago_ms: int = 400,
        seq: int = 1,
    ) -> StatusEntry:
        if standing is None:
            standing = (
                Standing.DENY_KILLED if kills else Standing.ENFORCING if policy else Standing.DENY_NO_POLICY
            )
        prefixes = tuple(kill[:8] for kill in kills)
        said = AgentReport(agent, standing, policy, rollout, stage, prefixes, 90, 10, 0, 0, nack)
        status = Status(
            1,
            seq,
            now_ms() - ago_ms,
            1,
            1,
            bytes(16),
            f"{agent}:7420",
            "faramesh-mesh test",
            True,
            (said,),
            NO_EXTRA,
        )
        live = sign_status(status, self.shop.chain.mesh, workshop.node_signer(agent))
        self.entries[agent] = StatusEntry(live.envelope, health, 0)
        return self.entries[agent]

    def runs(self, rollout: Record, *agents: str, stage: int = 1) -> None:
        for agent in agents:
            self.report(agent, policy=rollout.payload.policy, rollout=rollout.id, stage=stage)

    def known(self) -> Knowledge:
        known = Knowledge(self.shop.records, self.shop.bodies, Fleet(self.shop.records, self.shop.bodies))
        known.hear(tuple(self.entries.values()), "m1 at m1:7420")
        return known
