"""What an SPDX expression allows, by lists that are data: `lists/licenses.toml`, versioned and with its sources.

Blue Oak's permissive tiers and attribution-only data licences are permissive; Creative Commons ids are not listed,
since their elements say it for every version and port; everything else is restricted in kind, or known and not
ranked, which is not permissive either. OR takes the best of its parts, AND the worst, WITH what stands before it. No
I/O but reading the lists once.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, Licensing, get_spdx_licensing

LICENSE_LISTS = Path(__file__).parent / "lists" / "licenses.toml"


def permissive(expression: str) -> bool:
    """Whether an SPDX expression is permissive: OR if any part is, AND if all are, WITH as what stands before it."""
    return restrictiveness(expression) == 0


# Worst last, so that the worse of two restrictions is the greater index; 0 is permissive, 1 not ranked.
RESTRICTIONS = (
    "permissive",
    "unranked",
    "weak_copyleft",
    "copyleft",
    "share_alike",
    "proprietary",
    "source_available",
    "noderivatives",
    "noncommercial",
    "rights_reserved",
    "tdm_reserved",
    "no_ai",
)
_CC = re.compile(r"CC-(BY(?:-(?:SA|NC|ND|NC-SA|NC-ND))?)(?:-\d.*)?\Z")


@functools.cache
def policy_lists() -> dict[str, Any]:
    """The lists as they are."""
    return tomllib.loads(LICENSE_LISTS.read_text(encoding="utf-8"))


@functools.cache
def lists_sha256() -> str:
    """Digest of the lists, part of the stage's fingerprint."""
    return hashlib.sha256(LICENSE_LISTS.read_bytes()).hexdigest()


@functools.cache
def kind_of_id() -> dict[str, int]:
    """Index into `RESTRICTIONS` of each id that is listed by name."""
    lists = policy_lists()
    kinds = {name: RESTRICTIONS.index("unranked") for name in lists["unranked"]["ids"]}
    for restriction, names in lists["restricted"].items():
        kinds.update(dict.fromkeys(names, RESTRICTIONS.index(restriction)))
    for names in lists["permissive"].values():
        kinds.update(dict.fromkeys(names, 0))
    return kinds


@functools.lru_cache(maxsize=4096)
def restrictiveness(expression: str) -> int:
    """Index into `RESTRICTIONS` of what the expression comes to."""
    try:
        parsed = licensing().parse(expression)
    except ExpressionError:
        return RESTRICTIONS.index("unranked")
    return _restrictiveness_of(parsed)


def ids_in(expression: str) -> set[str]:
    """The SPDX ids of an expression."""
    return {str(key) for key in licensing().license_keys(expression)}


def check_allowed(allow: Sequence[str]) -> None:
    """Refuse what is neither an SPDX id nor one without its version (`CC-BY-SA`).

    Raises:
        ValueError: with the nearest ids.
    """
    known = spdx_ids() | {"LicenseRef-public-domain"}
    families = {re.sub(r"-v?\d.*", "", spdx_id) for spdx_id in known}
    for name in allow:
        if name not in known and name not in families:
            everything = {spdx_id.lower(): spdx_id for spdx_id in sorted(known | families)}
            near = difflib.get_close_matches(str(name).lower(), everything, n=3, cutoff=0.6)
            hint = f"; did you mean {' or '.join(everything[id] for id in near)}?" if near else ""
            raise ValueError(f"allow: {name!r} is no SPDX licence id{hint} (ids: https://spdx.org/licenses/)")


def _restrictiveness_of(node: Any) -> int:
    if hasattr(node, "license_symbol"):
        return _restrictiveness_of(node.license_symbol)
    if getattr(node, "isliteral", False) or hasattr(node, "key"):
        return _id_restrictiveness(node.key)
    parts = [_restrictiveness_of(part) for part in node.args]
    return min(parts) if node.operator.strip() == "OR" else max(parts)


def _id_restrictiveness(spdx_id: str) -> int:
    if spdx_id == "CC0-1.0" or (cc := _CC.match(spdx_id)):
        kind = "CC0" if spdx_id == "CC0-1.0" else "CC-" + cc[1]  # type: ignore[index]
        if kind in policy_lists()["creative_commons"]["permissive"]:
            return 0
        for element, restriction in (("NC", "noncommercial"), ("ND", "noderivatives"), ("SA", "share_alike")):
            if element in kind:
                return RESTRICTIONS.index(restriction)
    return kind_of_id().get(spdx_id, RESTRICTIONS.index("unranked"))


@functools.cache
def licensing() -> Licensing:
    """The SPDX list as license-expression knows it."""
    return get_spdx_licensing()  # builds an index, 0.1 s each time


def canonical(expression: str) -> str:
    """Canonical form: parts sorted, doubles gone."""
    return str(licensing().parse(expression).simplify())


@functools.cache
def spdx_ids() -> frozenset[str]:
    """All ids, exceptions included."""
    return frozenset(licensing().known_symbols)


def known_id(spdx_id: str) -> str | None:
    """The id if there is such a one."""
    return spdx_id if spdx_id in spdx_ids() else None


def allowed_by(node: Any, allow: tuple[str, ...]) -> bool:
    """Whether a parsed expression is permissive once the ids in `allow` are; an id without version allows them all."""
    if hasattr(node, "license_symbol"):
        return allowed_by(node.license_symbol, allow)
    if hasattr(node, "key"):
        named = any(
            node.key == id or (node.key.startswith(id + "-") and node.key[len(id) + 1].isdigit()) for id in allow
        )
        return named or _id_restrictiveness(node.key) == 0
    parts = [allowed_by(part, allow) for part in node.args]
    return any(parts) if node.operator.strip() == "OR" else all(parts)


@functools.cache
def opt_out_restrictions() -> frozenset[str]:
    """Kinds of restriction that exclude under the policy `opt-out`."""
    return frozenset(policy_lists()["opt_out"]["exclude"])
