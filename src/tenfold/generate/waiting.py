"""Requests that wait, and whose turn it is: tenants get equal shares of the tokens, and so do a tenant's adapters."""

from collections import Counter, deque
from collections.abc import Iterator

from tenfold.adapters.composition import Composition
from tenfold.generate.draft import Draft

Line = tuple[str, Composition]


class Waiting:
    """Lines of requests, one for each tenant and composition; the one that got the fewest tokens is served next.

    Counting tokens served, with a line that comes back starting where the least served one stands, is the virtual
    token counter (Sheng et al. 2024, arXiv:2401.00588): nobody saves up turns, and nobody starves.
    """

    def __init__(self) -> None:
        self._lines: dict[str, dict[Composition, deque[Draft]]] = {}
        self._tenants: Counter[str] = Counter()
        self._spent: Counter[Line] = Counter()

    def __len__(self) -> int:
        return sum(len(line) for lines in self._lines.values() for line in lines.values())

    def __iter__(self) -> Iterator[Draft]:
        return (draft for lines in self._lines.values() for line in lines.values() for draft in line)

    def push(self, draft: Draft) -> None:
        """To the end of its line."""
        tenant, composition = draft.tenant, draft.composition
        if tenant not in self._lines:
            least = min((self._tenants[one] for one in self._lines), default=0)
            self._tenants[tenant] = max(self._tenants[tenant], least)
        lines = self._lines.setdefault(tenant, {})
        if composition not in lines:
            least = min((self._spent[tenant, one] for one in lines), default=0)
            self._spent[tenant, composition] = max(self._spent[tenant, composition], least)
        lines.setdefault(composition, deque()).append(draft)

    def first(self) -> Draft | None:
        """Whose turn it is; it stays where it is."""
        if not self._lines:
            return None
        tenant = min(self._lines, key=lambda one: self._tenants[one])
        lines = self._lines[tenant]
        return lines[min(lines, key=lambda one: self._spent[tenant, one])][0]

    def remove(self, draft: Draft) -> None:
        """Take one out, from anywhere in its line."""
        lines = self._lines[draft.tenant]
        lines[draft.composition].remove(draft)
        if not lines[draft.composition]:
            del lines[draft.composition]
        if not lines:
            del self._lines[draft.tenant]

    def charge(self, draft: Draft, tokens: int) -> None:
        """Count what its line was given."""
        self._tenants[draft.tenant] += tokens
        self._spent[draft.tenant, draft.composition] += tokens

    def forget(self) -> None:
        """Start counting anew; for when nothing is under way."""
        self._tenants.clear()
        self._spent.clear()
