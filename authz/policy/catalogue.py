"""What the policies' data says that others need to know: which kinds of organisation there are.

The list stands once, in `policies/data/organization_types`, and travels in the bundle with the scope catalogue that
uses it, so that stelselbeheer changes both in one act. The enumerations in `policies/schemas` are held equal by a test.
"""

from typing import Final

from authz.policy.archive import BundleRefused
from authz.policy.bundle import VerifiedBundle
from authz.policy.signing import strict_json

_DATA: Final = "data"
_TYPES: Final = "organization_types"


def organization_types(bundle: VerifiedBundle) -> frozenset[str]:
    """The organization types that the policies know.

    Raises:
        BundleRefused: the bundle names none; without them any typing mistake would pass.
    """
    data = strict_json(bundle.data)
    found = data.get(_DATA, {}).get(_TYPES) if isinstance(data, dict) and isinstance(data.get(_DATA), dict) else None
    if not isinstance(found, dict) or not found:
        raise BundleRefused("the policy bundle names no organization types (policies/data/organization_types)")
    return frozenset(found)
