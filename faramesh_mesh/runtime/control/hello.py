"""The proofs that open a control connection: each side signs what both sides saw, over this very connection.

    "faramesh-mesh control <side> v1\\0" | mesh id 32 | SHA-256 of the node's certificate 32 | of the client's 32
        | the client's nonce 32 | the node's nonce 32

The client has no certificate: zeros stand for it; on the Unix socket both are zeros. Because the certificate's hash is
signed, somebody in the middle, who must show a certificate of his own, can forward neither proof.
"""

from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.ids import KeyId, MeshId, key_id
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.records.root import RoleKey
from faramesh_mesh.runtime.control.answers import Challenge
from faramesh_mesh.runtime.control.requests import Proof
from faramesh_mesh.runtime.tls import NO_CERTIFICATE
from faramesh_mesh.trust.admission import admit
from faramesh_mesh.trust.chain import RootChain, pin
from faramesh_mesh.trust.keys import Signer, Verify


def server_bytes(mesh: MeshId, certificate: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    """What the node signs with its node key. `certificate` is the SHA-256 of its TLS certificate."""
    return _signed(b"faramesh-mesh control node v1\0", mesh, certificate, client_nonce, server_nonce)


def client_bytes(mesh: MeshId, certificate: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    """What the client signs with its role key. `certificate` is the SHA-256 of the node's TLS certificate."""
    return _signed(b"faramesh-mesh control client v1\0", mesh, certificate, client_nonce, server_nonce)


def _signed(
    context: bytes, mesh: MeshId, certificate: bytes, client_nonce: bytes, server_nonce: bytes
) -> bytes:
    return context + mesh + certificate + NO_CERTIFICATE + client_nonce + server_nonce


def prove(signer: Signer, challenge: Challenge, certificate: bytes, client_nonce: bytes) -> Proof:
    """The client's proof that it holds a role key."""
    return Proof(
        signer.id, signer.sign(client_bytes(challenge.mesh, certificate, client_nonce, challenge.nonce))
    )


def proven_role(
    proof: Proof,
    chain: RootChain,
    certificate: bytes,
    client_nonce: bytes,
    server_nonce: bytes,
    verify: Verify,
) -> RoleKey | None:
    """The role key that a client proved to hold, None if it did not. A retired key opens nothing."""
    key = chain.key(proof.key)
    if key is None or key.cut is not None or not key.roles:
        return None
    signed = client_bytes(chain.mesh, certificate, client_nonce, server_nonce)
    return key if verify(key.public, signed, proof.signature) else None


def follow(
    challenge: Challenge, chain: RootChain | None, expected: MeshId | None, verify: Verify
) -> RootChain | str:
    """The chain with the roots that a challenge brings, or why they are none. It may end before the node's own: then
    a second greeting brings more."""
    roots = challenge.roots
    if chain is None:
        if not roots:
            return "it sent no root document"
        pinned = pin(roots[0], verify, expected)
        if isinstance(pinned, Rejected):
            return f"its root document was refused: {pinned}"
        chain, roots = pinned, roots[1:]
    if challenge.mesh != chain.mesh:
        return "it belongs to another mesh"
    for root in roots:
        extended = chain.extend(root, verify)
        if isinstance(extended, Rejected):
            return f"its chain of roots was refused: {extended}"
        chain = extended
    return chain


def check_node(
    challenge: Challenge,
    chain: RootChain | None,
    expected: MeshId | None,
    certificate: bytes,
    client_nonce: bytes,
    verify: Verify,
) -> tuple[RootChain, tuple[Enrolment, ...]] | str:
    """Whether the other side is a node of the mesh: the chain with what it sent, and its enrolments; or why not.

    `chain` is what the client holds already, None to begin from `expected`, the pinned mesh id. Whether an enrolment
    was revoked only shows after a pull; a node that lies about that can still only withhold.
    """
    longer = follow(challenge, chain, expected, verify)
    if isinstance(longer, str):
        return longer
    chain = longer
    signed = server_bytes(chain.mesh, certificate, client_nonce, challenge.nonce)
    if not verify(challenge.node, signed, challenge.signature):
        return "its proof over this connection does not hold: somebody may be in between"
    enrolments = tuple(_enrolments(challenge, chain, verify))
    if not enrolments:
        return f"node {key_id(challenge.node).hex()[:8]} showed no enrolment of its own that this mesh signed"
    return chain, enrolments


def _enrolments(challenge: Challenge, chain: RootChain, verify: Verify) -> list[Enrolment]:
    found: list[Enrolment] = []
    for data in challenge.enrolments:
        record = admit(data, chain, verify)
        if isinstance(record, Rejected) or not isinstance(record.payload, Enrolment):
            continue
        if record.payload.node == challenge.node:
            found.append(record.payload)
    return found


def node_of(challenge: Challenge) -> KeyId:
    """The id of the node that a challenge speaks of."""
    return key_id(challenge.node)
