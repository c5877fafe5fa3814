"""Names of agents and the labels they are enrolled with."""

from faramesh_mesh.records.codec import Fields, ascending
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.selector import INSTANCE, LABEL_KEY, LABEL_VALUE

MAX_AGENT = 128
MAX_LABELS = 32
REGION = "region"
NO_REGION = "-"
"""What views call the region of an agent that was enrolled without one."""

Labels = tuple[tuple[str, str], ...]
"""Pairs, ascending by key."""


def read_name(fields: Fields, name: str) -> str:
    """An agent's or line's name: letters, digits and `._:/@-`, at most 128 characters."""
    value = fields.text(name, MAX_AGENT, smallest=1)
    if LABEL_VALUE.fullmatch(value) is None:
        raise Malformed(f"{name}: not a name")
    return value


def read_labels(fields: Fields, name: str) -> Labels:
    """Labels, ascending by key. `instance` is refused: it always means the agent's own name."""
    labels = ascending(fields.items(name, MAX_LABELS, _label), name, lambda pair: pair[0])
    for key, _ in labels:
        if key == INSTANCE:
            raise Malformed(f"{name}: {INSTANCE} cannot be given as a label")
    return labels


def _label(fields: Fields) -> tuple[str, str]:
    key, value = fields.text("key", 63, smallest=1), fields.text("value", 128, smallest=1)
    if LABEL_KEY.fullmatch(key) is None or LABEL_VALUE.fullmatch(value) is None:
        raise Malformed("labels: not a label")
    return key, value
