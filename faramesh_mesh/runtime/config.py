"""The settings of a node, as `config.toml` in its home keeps them.

agent = "billing-7"
listen = "0.0.0.0:7420"
advertise = "10.0.0.7:7420"
seeds = ["m1:7420"]
proxy = "proxy.corp:3128"
duties = ["enrol"]

[discovery]
mdns = true
dns = ["mesh.default.svc.cluster.local:7420"]
file = "/etc/mesh/peers"

[agent_socket]
path = "/run/faramesh-mesh/agents.sock"
group = "agents"
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from faramesh_mesh.records.enrolment import Duty
from faramesh_mesh.records.labels import MAX_AGENT
from faramesh_mesh.records.selector import LABEL_VALUE
from faramesh_mesh.runtime.addresses import DEFAULT_PORT, AddressError, parse_address

MAX_SOCKET_PATH = 100
"""Bytes. `sun_path` holds 108 on Linux and 104 on BSD, with the final zero."""


class ConfigError(ValueError):
    """`config.toml` cannot be used. The message names the setting and what was expected."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """Where addresses are suggested from, beside the seeds. Discovery is never trusted for anything but dialling.

    `mdns` announces this node on the local network and listens for others; `dns` are names (with a port, where it is
    not 7420) whose A and AAAA records are peers, such as a Kubernetes headless service; `file` lists an address a line.
    """

    mdns: bool = False
    dns: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True, slots=True)
class AgentSocket:
    """Where programs of other users, the members of `group` (a name or a number), may ask for decisions and
    nothing else. No such socket where `path` is empty. See `agent_socket`."""

    path: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class NodeHomeConfig:
    """What a node was told to be. `advertise` empty means: the address it listens on, where that is a real one.

    `proxy` is the HTTP proxy that this host reaches other networks through (see `egress`), empty for none.
    """

    agent: str
    listen: str = f"0.0.0.0:{DEFAULT_PORT}"
    advertise: str = ""
    seeds: tuple[str, ...] = ()
    proxy: str = ""
    discovery: Discovery = Discovery()
    duties: tuple[Duty, ...] = ()
    agent_socket: AgentSocket = AgentSocket()


def format_config(config: NodeHomeConfig) -> str:
    """The settings as TOML."""
    lines = [
        f"agent = {_quoted(config.agent)}",
        f"listen = {_quoted(config.listen)}",
        f"advertise = {_quoted(config.advertise)}",
        f"seeds = {_list(config.seeds)}",
        f"proxy = {_quoted(config.proxy)}",
        f"duties = {_list(tuple(duty.value for duty in config.duties))}",
        "",
        "[discovery]",
        f"mdns = {'true' if config.discovery.mdns else 'false'}",
        f"dns = {_list(config.discovery.dns)}",
        f"file = {_quoted(config.discovery.file)}",
    ]
    if config.agent_socket.path:
        lines += [
            "",
            "[agent_socket]",
            f"path = {_quoted(config.agent_socket.path)}",
            f"group = {_quoted(config.agent_socket.group)}",
        ]
    return "\n".join(lines) + "\n"


def parse_config(text: str) -> NodeHomeConfig:
    """Read the settings. Raises `ConfigError`; an unknown setting is an error, because it is a misspelt one."""
    try:
        table: Mapping[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config.toml: {error}") from None
    _known(
        table, ("agent", "listen", "advertise", "seeds", "proxy", "duties", "discovery", "agent_socket"), ""
    )
    default = NodeHomeConfig(agent="")
    agent = _text(table, "agent", "")
    if len(agent) > MAX_AGENT or LABEL_VALUE.fullmatch(agent) is None:
        raise ConfigError("config.toml: agent: a name of letters, digits and ._:/@-, at most 128 characters")
    config = NodeHomeConfig(
        agent=agent,
        listen=_text(table, "listen", default.listen),
        advertise=_text(table, "advertise", default.advertise),
        seeds=_texts(table, "seeds"),
        proxy=_text(table, "proxy", default.proxy),
        discovery=_discovery(table.get("discovery", {})),
        duties=tuple(_duty(name) for name in _texts(table, "duties")),
        agent_socket=_agent_socket(table.get("agent_socket", {})),
    )
    for setting, addresses in (
        ("listen", (config.listen,)),
        ("advertise", (config.advertise,) if config.advertise else ()),
        ("seeds", config.seeds),
        ("proxy", (config.proxy,) if config.proxy else ()),
    ):
        for address in addresses:
            try:
                parse_address(address)
            except AddressError as error:
                raise ConfigError(f"config.toml: {setting}: {error}") from None
    return config


def _discovery(table: object) -> Discovery:
    if not isinstance(table, Mapping):
        raise ConfigError("config.toml: discovery: expected a table")
    _known(table, ("mdns", "dns", "file"), "discovery.")
    mdns = table.get("mdns", False)
    if not isinstance(mdns, bool):
        raise ConfigError("config.toml: discovery.mdns: expected true or false")
    return Discovery(mdns, _texts(table, "dns", "discovery."), _text(table, "file", "", "discovery."))


def _agent_socket(table: object) -> AgentSocket:
    if not isinstance(table, Mapping):
        raise ConfigError("config.toml: agent_socket: expected a table")
    _known(table, ("path", "group"), "agent_socket.")
    path = _text(table, "path", "", "agent_socket.")
    group = _text(table, "group", "", "agent_socket.")
    if not table:
        return AgentSocket()
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ConfigError(
            f"config.toml: agent_socket.path: expected an absolute path of at most {MAX_SOCKET_PATH} bytes"
        )
    if not group:
        raise ConfigError("config.toml: agent_socket.group: expected the group whose members may ask")
    return AgentSocket(path, group)


def _known(table: Mapping[str, object], names: tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in names:
            raise ConfigError(f"config.toml: {where}{name}: no such setting (there are {', '.join(names)})")


def _text(table: Mapping[str, object], name: str, default: str, where: str = "") -> str:
    value = table.get(name, default)
    if not isinstance(value, str):
        raise ConfigError(f"config.toml: {where}{name}: expected text in quotes")
    return value


def _texts(table: Mapping[str, object], name: str, where: str = "") -> tuple[str, ...]:
    value = table.get(name, [])
    if not isinstance(value, list):
        raise ConfigError(f"config.toml: {where}{name}: expected a list of texts")
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) != len(value):
        raise ConfigError(f"config.toml: {where}{name}: expected a list of texts")
    return tuple(texts)


def _duty(name: str) -> Duty:
    try:
        return Duty(name)
    except ValueError:
        known = ", ".join(duty.value for duty in Duty)
        raise ConfigError(f"config.toml: duties: {name!r} is not a duty (there is {known})") from None


def _quoted(text: str) -> str:
    """A TOML basic string: control characters, quotes and backslashes escaped."""
    escaped = "".join(
        f"\\{char}" if char in '"\\' else char if char.isprintable() else f"\\U{ord(char):08X}"
        for char in text
    )
    return f'"{escaped}"'


def _list(texts: tuple[str, ...]) -> str:
    return f"[{', '.join(_quoted(text) for text in texts)}]"
