"""`node info`: one node's word about itself."""

from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.local import ask_any
from faramesh_cli.output import Answer
from faramesh_cli.parsing import counted, spell_ms
from faramesh_mesh.records.ids import fingerprint
from faramesh_mesh.runtime.control.answers import NodeInfo
from faramesh_mesh.runtime.control.client import ControlClient


def show_node(shell: Shell) -> Answer:
    """Show the node."""

    async def ask(client: ControlClient) -> tuple[NodeInfo, str, str]:
        regions = sorted({enrolment.region for enrolment in client.enrolments})
        return await client.info(), client.chain.current.name, ", ".join(regions)

    info, mesh, region = ask_any(shell, ask)
    agents = ", ".join(info.agents) or "no agent"
    ready = "ready" if info.ready else f"NOT READY: it denies until it has synced; {_met(info)}"
    lines = [
        f"{agents} in mesh {mesh}, fingerprint {fingerprint(info.mesh)}",
        f"  node {info.node.hex()}, region {region or '-'}, at {info.address or 'no address'}",
        f"  {ready}, {counted(info.peers, 'peer')}, statuses of {counted(info.statuses, 'node')}",
        f"  {counted(info.records, 'record')}, set {info.fingerprint.hex()[:16]}, root version {info.root_version}",
        f"  {info.software}, up {spell_ms(info.uptime_ms)}, life {info.incarnation}, process {info.pid}",
    ]
    if info.store:
        lines.append(f"  ! store: {info.store}")
    return Answer(
        "node-info",
        {
            "mesh": info.mesh.hex(),
            "name": mesh,
            "node": info.node.hex(),
            "agents": list(info.agents),
            "region": region,
            "address": info.address,
            "ready": info.ready,
            "met": info.met,
            "others": info.others,
            "peers": info.peers,
            "statuses": info.statuses,
            "records": info.records,
            "fingerprint": info.fingerprint.hex(),
            "root_version": info.root_version,
            "software": info.software,
            "uptime_ms": info.uptime_ms,
            "incarnation": info.incarnation,
            "pid": info.pid,
            "store": info.store,
        },
        lines,
        exit_code=ExitCode.DONE if info.ready and not info.store else ExitCode.PARTIAL,
    )


def _met(info: NodeInfo) -> str:
    """How far the node is with syncing."""
    if info.others == 0:
        return "it knows of no other member, and listens for one"
    return f"{info.met} of {counted(info.others, 'other node')} hold what it holds"
