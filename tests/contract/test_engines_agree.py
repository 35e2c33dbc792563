"""Two engines and the reference evaluation: one answer for every case."""

import json
from pathlib import Path
from typing import Any

import pytest

from authz.policy.bundle import VerifiedBundle
from authz.policy.default import default_bundle
from authz.policy.engine import Decision, PolicyEngine
from authz.policy.opa import OpaServerEngine
from authz.policy.opa_binary import run_opa
from authz.policy.wasm import WasmEngine
from tests.contract.policy_cases import Case, cases, mutants

CASES = cases()


@pytest.fixture(scope="module")
def wasm(bundle: VerifiedBundle) -> WasmEngine:
    return WasmEngine(bundle)


def plain(decision: Decision) -> dict[str, Any]:
    return {
        "allow": decision.allow,
        "reasons": list(decision.reasons),
        "policy_id": decision.policy_id,
        "obligations": dict(decision.obligations),
        "evaluations": [{"allow": item.allow, "reasons": list(item.reasons)} for item in decision.evaluations],
    }


def evaluated(asked: list[Case], folder: Path) -> list[dict[str, Any]]:
    """What `opa eval` says of every case, in one run on the Rego of the bundle."""
    (folder / "bundle.tar.gz").write_bytes(default_bundle())
    (folder / "cases.json").write_text(json.dumps({"cases": [case.document for case in asked]}))
    results: dict[str, list[Any]] = {}
    for entrypoint in ("access/decision", "token/decision"):
        query = f"[d | some c in data.cases; d := data.{entrypoint.replace('/', '.')} with input as c]"
        arguments = ["eval", "--bundle", "bundle.tar.gz", "--data", "cases.json", "--format", "raw", query]
        results[entrypoint] = json.loads(run_opa(arguments, folder))
        assert len(results[entrypoint]) == len(asked), "a decision is undefined"
    return [{"evaluations": [], **results[case.entrypoint][index]} for index, case in enumerate(asked)]


async def ask(engine: PolicyEngine, asked: list[Case]) -> list[dict[str, Any]]:
    return [plain(await engine.decide(case.entrypoint, case.document)) for case in asked]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_compiled_policy_decides_as_the_case_says(wasm: WasmEngine, case: Case) -> None:
    decision = await wasm.decide(case.entrypoint, case.document)
    assert (decision.allow, decision.reasons) == (case.allow, case.reasons)
    assert case.policy_id in {None, decision.policy_id}
    assert decision.revision == wasm.revision


async def test_engine_server_and_reference_agree_on_every_case(
    wasm: WasmEngine, opa_socket: str, opa: Path, tmp_path: Path
) -> None:
    assert opa
    reference = evaluated(CASES, tmp_path)
    in_process = await ask(wasm, CASES)
    async with OpaServerEngine("http://opa", socket=opa_socket, timeout=60) as server:
        served = await ask(server, CASES)
        assert server.revision == wasm.revision
    for case, *answers in zip(CASES, reference, in_process, served, strict=True):
        assert answers[0] == answers[1] == answers[2], str(case)


async def test_they_agree_on_documents_that_nobody_thought_of(wasm: WasmEngine, opa: Path, tmp_path: Path) -> None:
    assert opa
    asked = mutants(400, seed=20261122)
    for case, expected, got in zip(asked, evaluated(asked, tmp_path), await ask(wasm, asked), strict=True):
        assert expected == got, json.dumps(case.document)
        assert expected["allow"] is not bool(expected["reasons"])
