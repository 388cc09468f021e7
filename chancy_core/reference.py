"""How a job is found again: `Reference`, which `push` answers."""

from uuid import UUID

from attrs import frozen


@frozen(eq=False)
class Reference:
    """What `push` answers: the identity of a job, and whether this push made it.

    It equals other references to the same job, and the job's `id`.
    """

    id: UUID
    #: False when a live job already held the unique key: this refers to that one.
    new: bool = True

    def __eq__(self, other: object) -> bool:
        return self.id == (other.id if isinstance(other, Reference) else other)

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)
