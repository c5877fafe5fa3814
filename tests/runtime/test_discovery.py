"""Addresses as people write them, and the sources that suggest some."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import ServiceInfo, Zeroconf

from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.runtime import discovery, multicast
from faramesh_mesh.runtime.addresses import DEFAULT_PORT, Address, AddressError, parse_address
from faramesh_mesh.runtime.config import Discovery
from faramesh_mesh.runtime.discovery import MAX_SUGGESTED, discover
from faramesh_mesh.runtime.multicast import SERVICE, addresses_in, announce_and_browse

MESH = MeshId(sha256(b"mesh").digest())
OWN = Address("127.0.0.1", 7420)


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            ("m1", "m1", DEFAULT_PORT),
            (" M1:80 ", "m1", 80),
            ("m1.example.:80", "m1.example.", 80),
            ("a" * 63 + ".example", "a" * 63 + ".example", DEFAULT_PORT),
            ("10.0.0.7:0", "10.0.0.7", 0),
            ("::1", "::1", DEFAULT_PORT),
            ("[::1]", "::1", DEFAULT_PORT),
            ("[2001:DB8:0:0::1]:65535", "2001:db8::1", 65535),
            ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ],
    )
    def test_the_ways_to_write_one(self, text: str, host: str, port: int) -> None:
        assert parse_address(text) == Address(host, port)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            ":1",
            "m1:",
            "m1:x",
            "m1:65536",
            "m1:-1",
            "m1:\u0661",
            "[::1",
            "[::1]x",
            "[m1]:1",
            "1:2:3",
            "a b:1",
            "http://m1",
            "user@m1:1",
            "m1:1:1",
            "m\x001",
            "peers..svc:7420",
            ".svc",
            "svc..",
            "a" * 64 + ".example:1",
        ],
    )
    def test_what_is_none_is_refused_in_words(self, text: str) -> None:
        with pytest.raises(AddressError, match=r"example|expected|write|port|IPv6"):
            parse_address(text)

    @given(
        st.from_regex(r"([a-z0-9-]{1,12}\.){0,3}[a-z0-9-]{1,12}\.?", fullmatch=True)
        | st.ip_addresses().map(lambda ip: ip.compressed),
        st.integers(0, 65_535),
    )
    def test_what_is_printed_is_read_back(self, host: str, port: int) -> None:
        assert parse_address(str(Address(host, port))) == Address(host, port)

    @given(st.text(max_size=40))
    def test_any_text_is_an_address_or_an_address_error(self, text: str) -> None:
        try:
            assert parse_address(str(parse_address(text))) == parse_address(text)
        except AddressError:
            return


class Heard:
    """What was suggested and complained about, in order, to be waited for."""

    def __init__(self) -> None:
        self._send, self.suggested = trio.open_memory_channel[tuple[str, ...]](100)
        self._complain, self.complaints = trio.open_memory_channel[str](100)

    def suggest(self, addresses: tuple[str, ...]) -> None:
        self._send.send_nowait(addresses)

    def complain(self, what: str) -> None:
        self._complain.send_nowait(what)


@asynccontextmanager
async def discovering(settings: Discovery, *seeds: str) -> AsyncIterator[Heard]:
    heard = Heard()
    with trio.fail_after(3_600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(discover, settings, seeds, MESH, OWN, heard.suggest, heard.complain)
            yield heard
            nursery.cancel_scope.cancel()


async def test_seeds_come_at_once_and_again_without_this_node(autojump_clock: trio.testing.MockClock) -> None:
    async with discovering(Discovery(), "m1", "127.0.0.1:7420", "[::1]:1", "m1:7420") as heard:
        assert await heard.suggested.receive() == ("m1:7420", "[::1]:1")
        began = trio.current_time()
        assert await heard.suggested.receive() == ("m1:7420", "[::1]:1")
        assert trio.current_time() - began == pytest.approx(discovery.AGAIN_SECONDS, abs=1)


async def test_a_file_is_read_again_when_it_changes(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.01  # the file is read in a thread, which the clock does not see
    file = tmp_path / "peers"
    async with discovering(Discovery(file=str(file))) as heard:
        assert "peers" in await heard.complaints.receive()
        file.write_text("m1  # first\n\n# none\nm2:1\n")
        assert await heard.suggested.receive() == ("m1:7420", "m2:1")
        file.write_text("m3\n")
        assert await heard.suggested.receive() == ("m3:7420",)
        file.write_text("m3\nno address\n")
        assert "no address" in await heard.complaints.receive()
        file.write_text("m3\nm4\n")
        assert await heard.suggested.receive() == ("m3:7420", "m4:7420")


class Resolver(trio.abc.HostnameResolver):
    """Names and their addresses; a name that is not there cannot be resolved."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names

    async def getaddrinfo(  # type: ignore[override] - the arguments that are used here
        self, host: bytes | None, port: int, *_: object
    ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        await trio.lowlevel.checkpoint()
        found = self.names.get((host or b"").decode() if isinstance(host, bytes) else str(host))
        if found is None:
            raise OSError(f"no such name: {host!r}")
        return [(2, 1, 6, "", (address, port)) for address in found]

    async def getnameinfo(self, sockaddr: tuple[str, int], flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_name_stands_for_all_its_addresses_and_is_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    resolver = Resolver({"mesh.svc": ["10.0.0.2", "10.0.0.1", "fd00::1"]})
    trio.socket.set_custom_hostname_resolver(resolver)
    async with discovering(Discovery(dns=("mesh.svc:7000", "gone.svc"))) as heard:
        assert await heard.suggested.receive() == ("10.0.0.1:7000", "10.0.0.2:7000", "[fd00::1]:7000")
        resolver.names["mesh.svc"] = ["10.0.0.3"]
        assert await heard.suggested.receive() == ("10.0.0.3:7000",)
        resolver.names = {}
        assert "no such name" in await heard.complaints.receive()
        resolver.names = {"gone.svc": ["10.0.0.4"]}
        assert await heard.suggested.receive() == ("10.0.0.4:7420",)


async def test_a_name_that_is_none_is_complained_about_and_hides_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`peers..svc` is a UnicodeError of getaddrinfo, which ended the node; a blank in a name kept from all others."""
    trio.socket.set_custom_hostname_resolver(Resolver({"mesh.svc": ["10.0.0.1"]}))
    async with discovering(Discovery(dns=("peers..svc:7420", "mesh.svc", "two words"))) as heard:
        assert await heard.suggested.receive() == ("10.0.0.1:7420",)
        assert "peers..svc" in await heard.complaints.receive()
        assert "two words" in await heard.complaints.receive()
        await trio.sleep(2 * discovery.DNS_SECONDS)
        with pytest.raises(trio.WouldBlock):
            heard.complaints.receive_nowait()


async def test_a_name_that_the_resolver_cannot_encode_is_complained_about_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with discovering(Discovery(dns=("\u2488com",))) as heard:
        await heard.complaints.receive()
        await trio.sleep(3 * discovery.DNS_SECONDS)
        with pytest.raises(trio.WouldBlock):
            heard.complaints.receive_nowait()


async def test_a_name_with_a_thousand_addresses_crowds_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    resolver = Resolver({"big.svc": [f"10.0.{a}.{b}" for a in range(5) for b in range(250)]})
    trio.socket.set_custom_hostname_resolver(resolver)
    async with discovering(Discovery(dns=("big.svc",))) as heard:
        assert len(await heard.suggested.receive()) == MAX_SUGGESTED


class TestMulticast:
    def announcement(self, **properties: bytes) -> ServiceInfo:
        return ServiceInfo(SERVICE, f"x.{SERVICE}", port=1, properties=properties)

    def test_only_announcements_of_this_mesh_with_an_address_count(self) -> None:
        mesh = MESH.hex()[:16].encode()
        assert addresses_in(self.announcement(mesh=mesh, at=b"m1:1"), MESH) == ("m1:1",)
        for bad in (
            self.announcement(mesh=b"other", at=b"m1:1"),
            self.announcement(at=b"m1:1"),
            self.announcement(mesh=mesh),
            self.announcement(mesh=mesh, at=b""),
            self.announcement(mesh=mesh, at=b"m1:port"),
            self.announcement(mesh=mesh, at=b"\xff\x00"),
        ):
            assert addresses_in(bad, MESH) == ()

    async def test_nodes_of_one_mesh_find_each_other_on_loopback(self) -> None:
        found: dict[str, set[str]] = {"a": set(), "b": set(), "stranger": set()}
        complete = trio.Event()

        async def node(name: str, mesh: MeshId, port: int) -> None:
            def suggest(addresses: tuple[str, ...]) -> None:
                found[name].update(addresses)
                if "127.0.0.1:7002" in found["a"] and "127.0.0.1:7001" in found["b"] and found["stranger"]:
                    complete.set()

            await announce_and_browse(mesh, Address("127.0.0.1", port), suggest, ["127.0.0.1"])

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node, "a", MESH, 7001)
                nursery.start_soon(node, "b", MESH, 7002)
                nursery.start_soon(node, "stranger", MeshId(sha256(b"other").digest()), 7003)
                await complete.wait()
                nursery.cancel_scope.cancel()
        assert "127.0.0.1:7003" not in found["a"] | found["b"]
        assert found["stranger"] == {"127.0.0.1:7003"}

    async def test_a_network_without_multicast_is_a_complaint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_network(**_: object) -> Zeroconf:
            raise OSError("no such device")

        monkeypatch.setattr(multicast, "Zeroconf", no_network)
        assert await announce_and_browse(MESH, OWN, lambda _: None) == "mDNS: no such device"
