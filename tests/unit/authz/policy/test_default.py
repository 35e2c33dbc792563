"""The default bundle as it is shipped, and the published template it was made from."""

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest
from graphql import FieldNode, OperationDefinitionNode, SelectionSetNode, parse

from authz.policy import default
from authz.policy.archive import unpack
from authz.policy.bundle import BundleRefused, verify_bundle
from authz.policy.catalogue import organization_types
from authz.policy.default import default_bundle, default_keys, load_default, load_keys
from authz.policy.opa_binary import checkout
from tests.fakes.bundles import SigningParty
from tests.support import vectors

NOW = default_keys()[0].not_before

TIMES = b'"not_before": "2026-01-01T00:00:00Z", "not_after": "2027-01-01T00:00:00Z"'
KEY = b'{"keys": [{"key_id": "k", "public_pem": "", ' + TIMES + b"}]}"


def test_a_well_formed_file_of_keys_is_read() -> None:
    assert len(load_keys(KEY)) == 1


def test_the_default_bundle_verifies_and_says_what_it_is() -> None:
    bundle = load_default(NOW)
    assert bundle.revision.startswith("default-")
    metadata = json.loads(unpack(default_bundle())[".manifest"])["metadata"]
    assert metadata["entrypoints"] == ["token/decision", "access/decision"]


def test_it_is_refused_after_its_key_has_run_out() -> None:
    (key,) = default_keys()
    with pytest.raises(BundleRefused, match="moment"):
        load_default(key.not_after)
    assert load_default(key.not_after - timedelta(seconds=1))


def test_it_does_not_verify_under_another_key() -> None:
    (key,) = default_keys()
    with pytest.raises(BundleRefused):
        verify_bundle(default_bundle(), [SigningParty(key.key_id).key(not_after=key.not_after)], NOW)


def test_it_holds_no_tests_and_no_path_of_the_machine_that_built_it() -> None:
    files = unpack(default_bundle())
    assert not [name for name in files if "_test" in name]
    for content in files.values():
        for path in (b"/home/", b"/root/", b"/tmp/", b"/work/", b"/Users/"):
            assert path not in content


def test_an_installation_without_bundle_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(default, "checkout", lambda: tmp_path)
    with pytest.raises(BundleRefused, match="no default policy bundle"):
        default_bundle()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"keys": [{"key_id": "k"}]}',
        b'{"keys": [{"key_id": "", "public_pem": "", "not_before": "2026-01-01T00:00:00", "not_after": "2027-01-01"}]}',
        KEY.replace(b"2026-01-01T00:00:00Z", b"2026-01-01T00:00:00"),
        KEY.replace(b"key_id", b"kid"),
    ],
)
def test_a_malformed_file_of_keys_is_refused(content: bytes) -> None:
    with pytest.raises(BundleRefused):
        load_keys(content)


def tree(selections: SelectionSetNode) -> dict[str, Any]:
    fields = [node for node in selections.selections if isinstance(node, FieldNode)]
    return {node.name.value: tree(node.selection_set) if node.selection_set else True for node in fields}


@pytest.mark.vectors
def test_the_template_is_the_published_one() -> None:
    (definition,) = parse((vectors() / "iwlz" / "QIR-0001-ZKi.graphql").read_text(encoding="utf-8")).definitions
    assert isinstance(definition, OperationDefinitionNode)
    data = json.loads(load_default(NOW).data)["data"]["templates"]["QIR-0001-ZKi"]
    assert data["paths"] == tree(definition.selection_set)
    assert data["filters"] == {"wlzindicatieID": True, "initieelVerantwoordelijkZorgkantoor": True}


def test_the_schemas_know_the_organization_types_of_the_data() -> None:
    types = organization_types(load_default(NOW))
    for schema, where in (("token", ("participant",)), ("access", ("subject", "properties"))):
        found = json.loads((checkout() / "policies" / "schemas" / f"{schema}.json").read_text())
        for key in where:
            found = found["properties"][key]
        assert set(found["properties"]["organization_type"]["enum"]) == types


def test_a_bundle_without_organization_types_says_so() -> None:
    bundle = load_default(NOW)
    for data in (b"{}", b"[]", b'{"data": []}', b'{"data": {"organization_types": {}}}'):
        with pytest.raises(BundleRefused, match="organization types"):
            organization_types(dataclasses.replace(bundle, data=data))
