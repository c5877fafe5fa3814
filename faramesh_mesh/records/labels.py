"""Names of agents and the labels they are enrolled with."""

from functools import lru_cache

from faramesh_mesh.records.codec import Fields, ascending
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.selector import INSTANCE, LABEL_KEY, LABEL_VALUE

MAX_AGENT = 128
MAX_LABELS = 32
MAX_KEY = 63
MAX_VALUE = 128
REGION = "region"
NO_REGION = "-"
"""What views call the region of an agent that was enrolled without one."""

Labels = tuple[tuple[str, str], ...]
"""Pairs, ascending by key."""


def facts(labels: Labels, agent: str) -> dict[str, str]:
    """What selectors and scopes are matched against: an agent's labels and, as `instance`, its name."""
    return {**dict(labels), INSTANCE: agent}


def read_name(fields: Fields, name: str) -> str:
    """An agent's or line's name: letters, digits and `._:/@-`, at most 128 characters."""
    return fields.word(name, MAX_AGENT, LABEL_VALUE)


def read_labels(fields: Fields, name: str) -> Labels:
    """Labels, ascending by key. `instance` is refused: it always means the agent's own name."""
    return _checked(fields.pairs_of_text(name, MAX_LABELS), name)


@lru_cache(maxsize=1_024)
def _checked(labels: Labels, name: str) -> Labels:
    """Remembered: the agents of a fleet share few sets of labels, so each set is checked, and held in memory, once."""
    for key, value in labels:
        if LABEL_KEY.fullmatch(key) is None or LABEL_VALUE.fullmatch(value) is None:
            raise Malformed(f"{name}: not a label")
        if len(key) > MAX_KEY or len(value) > MAX_VALUE:
            raise Malformed(f"{name}: a label of more than {MAX_KEY} and {MAX_VALUE} characters")
        if key == INSTANCE:
            raise Malformed(f"{name}: {INSTANCE} cannot be given as a label")
    return ascending(labels, name, lambda pair: pair[0])
