package access.rules.wlzbemiddelingsregister.own_register_test

import data.access
import data.lib.examples_test as examples

patched(request, path, value) := json.patch(request, [{"op": "replace", "path": path, "value": value}])

test_the_holder_is_permitted if {
	decision := access.decision with input as examples.mediation_request("uzovi:5000")
	decision.allow == true
	decision.policy_id == "OWN_REGISTER"
}

test_the_holder_is_permitted_any_filter if {
	wide := examples.evaluation(["bemiddeling"], [{"or": [{"not": examples.equal("a", "b")}]}], ["bemiddelingID"])
	decision := access.decision with input as patched(examples.mediation_request("uzovi:5000"), "/evaluations/0", wide)
	decision.allow == true
}

test_another_zorgkantoor_is_refused if {
	refused(examples.mediation_request("uzovi:5001"), {"own_register_required"})
}

test_the_same_digits_of_another_kind_are_refused if {
	refused(examples.mediation_request("agbcode:5000"), {"own_register_required"})
}

test_an_unknown_holder_is_refused if {
	request := json.patch(examples.mediation_request(""), [{"op": "remove", "path": "/context/register_owner"}])
	refused(request, {"own_register_required"})
}

test_a_register_held_otherwise_is_refused if {
	decision := access.decision with input as examples.mediation_request("uzovi:5000")
		with data.data.registers.wlzbemiddelingsregister.owner as "CIZ"
	decision.reasons == ["own_register_required"]
}

test_a_zorgaanbieder_is_refused if {
	refused(patched(examples.mediation_request("uzovi:5000"), "/subject", examples.zorgaanbieder), {"no_rule"})
}

test_without_uzovi_is_refused if {
	path := "/subject/properties/identifiers"
	refused(patched(examples.mediation_request("uzovi:5000"), path, {}), {"own_register_required"})
}

test_an_empty_uzovi_is_refused if {
	request := patched(examples.mediation_request("uzovi:"), "/subject/properties/identifiers", {"uzovi_code": ""})
	refused(request, {"own_register_required"})
}

test_without_scope_is_refused if {
	refused(patched(examples.mediation_request("uzovi:5000"), "/token/scopes", []), {"scope_required"})
}

test_the_create_scope_does_not_read if {
	scopes := ["registers/wlzbemiddelingsregister/bemiddelingen/bemiddeling:create"]
	refused(patched(examples.mediation_request("uzovi:5000"), "/token/scopes", scopes), {"scope_required"})
}

test_another_purpose_is_refused if {
	request := patched(examples.mediation_request("uzovi:5000"), "/context/purpose_of_use", "TOEZICHT")
	refused(request, {"purpose_not_allowed"})
}

test_a_mutation_is_refused if {
	request := patched(examples.mediation_request("uzovi:5000"), "/evaluations/0/action/name", "MUTATION")
	refused(request, {"action_not_allowed"})
}

refused(request, reasons) if {
	decision := access.decision with input as request
	decision.allow == false
	{reason | some reason in decision.reasons} == reasons
}
