"""Which role a key needs: for a plan its kind says so, and its kind is known only once the plan has been found."""

from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role

PLANNERS = (Role.ROLLOUT, Role.RESTORE)
"""Whose keys plan, open, freeze and end rollouts and restores."""


def role_of(plan: Record) -> Role:
    """The role whose keys count for a rollout or restore: its plan, its stages, the release of its holds."""
    return Role.RESTORE if plan.kind is Kind.RESTORE else Role.ROLLOUT


def spelled(roles: tuple[Role, ...]) -> str:
    """The roles in words: `rollout or restore`."""
    return " or ".join(role.name.lower() for role in roles)
