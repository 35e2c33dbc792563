package access.rules.wlzindicatieregister.ira0001_test

import data.access
import data.access.rules.wlzindicatieregister.ira0001
import data.lib.examples_test as examples

id := "wlzindicatieID"

zorgkantoor := "initieelVerantwoordelijkZorgkantoor"

patched(request, path, value) := json.patch(request, [{"op": "replace", "path": path, "value": value}])

# --- permitted

test_the_whole_template_is_permitted if {
	decision := access.decision with input as examples.indication_request(examples.whole_template)
	decision.allow == true
	decision.reasons == []
	decision.policy_id == "IRA0001"
	count(decision.evaluations) == 18
}

test_fewer_fields_are_permitted if {
	ira0001.permits with input as examples.one_indication(examples.own_indication, [id])
}

test_no_own_field_is_permitted if {
	ira0001.permits with input as examples.one_indication(examples.own_indication, [])
}

test_the_order_of_filters_does_not_matter if {
	request := examples.one_indication(array.reverse(examples.own_indication), [id])
	ira0001.permits with input as request
}

test_the_same_indication_twice_is_permitted if {
	root := examples.evaluation(["wlzIndicatie"], examples.own_indication, [id])
	ira0001.permits with input as examples.indication_request([root, root])
}

test_the_older_scope_is_permitted if {
	request := patched(
		examples.one_indication(examples.own_indication, [id]),
		"/token/scopes",
		["registers/wlzindicatieregister/indicaties:read"],
	)
	ira0001.permits with input as request
}

# --- refused for the filter

test_without_filter_is_refused if {
	refused(examples.one_indication([], [id]), {"filter_required", "own_zorgkantoor_required"})
}

test_without_the_indication_is_refused if {
	refused(examples.one_indication([examples.equal(zorgkantoor, "5000")], [id]), {"filter_required"})
}

test_without_the_zorgkantoor_is_refused if {
	conjuncts := [examples.equal(id, examples.indication_id)]
	refused(examples.one_indication(conjuncts, [id]), {"filter_required", "own_zorgkantoor_required"})
}

test_another_zorgkantoor_is_refused if {
	conjuncts := [examples.equal(id, examples.indication_id), examples.equal(zorgkantoor, "5001")]
	refused(examples.one_indication(conjuncts, [id]), {"own_zorgkantoor_required"})
}

test_the_filter_inside_or_is_refused if {
	conjuncts := [{"or": examples.own_indication}]
	expected := {"filter_required", "filter_not_in_template", "own_zorgkantoor_required"}
	refused(examples.one_indication(conjuncts, [id]), expected)
}

test_the_filter_inside_not_is_refused if {
	conjuncts := [examples.equal(id, examples.indication_id), {"not": examples.equal(zorgkantoor, "5000")}]
	expected := {"filter_required", "filter_not_in_template", "own_zorgkantoor_required"}
	refused(examples.one_indication(conjuncts, [id]), expected)
}

test_an_or_beside_the_filter_is_refused if {
	conjuncts := array.concat(examples.own_indication, [{"or": [examples.equal(zorgkantoor, "5001")]}])
	refused(examples.one_indication(conjuncts, [id]), {"filter_not_in_template"})
}

test_an_or_beside_the_conjunction_is_refused if {
	root := examples.evaluation(["wlzIndicatie"], examples.own_indication, [id])
	widened := json.patch(root, [{
		"op": "add",
		"path": "/resource/properties/query_filter/or",
		"value": [examples.equal(zorgkantoor, "5001")],
	}])
	refused(examples.indication_request([widened]), {"filter_not_in_template"})
}

test_another_filter_field_is_refused if {
	conjuncts := array.concat(examples.own_indication, [examples.equal("bsn", "999990019")])
	refused(examples.one_indication(conjuncts, [id]), {"filter_not_in_template"})
}

test_another_operator_is_refused if {
	every operator in {"neq", "in", "contains", "startsWith"} {
		conjuncts := [
			examples.equal(id, examples.indication_id),
			{"field": zorgkantoor, "operator": operator, "value": "5000"},
		]
		expected := {"filter_required", "filter_not_in_template", "own_zorgkantoor_required"}
		refused(examples.one_indication(conjuncts, [id]), expected)
	}
}

test_another_operator_beside_the_filter_is_refused if {
	conjuncts := array.concat(examples.own_indication, [{"field": id, "operator": "neq", "value": ""}])
	refused(examples.one_indication(conjuncts, [id]), {"filter_not_in_template"})
}

test_the_same_filter_twice_is_refused if {
	conjuncts := array.concat(examples.own_indication, [examples.equal(zorgkantoor, "5001")])
	refused(examples.one_indication(conjuncts, [id]), {"filter_required", "own_zorgkantoor_required"})
}

test_a_null_filter_is_refused if {
	conjuncts := [examples.equal(id, null), examples.equal(zorgkantoor, "5000")]
	refused(examples.one_indication(conjuncts, [id]), {"filter_required", "filter_not_in_template"})
}

test_a_number_for_the_zorgkantoor_is_refused if {
	conjuncts := [examples.equal(id, examples.indication_id), examples.equal(zorgkantoor, 5000)]
	expected := {"filter_required", "filter_not_in_template", "own_zorgkantoor_required"}
	refused(examples.one_indication(conjuncts, [id]), expected)
}

test_an_empty_filter_is_refused if {
	conjuncts := [examples.equal(id, ""), examples.equal(zorgkantoor, "5000")]
	refused(examples.one_indication(conjuncts, [id]), {"filter_required"})
}

test_a_filter_on_a_nested_entity_is_refused if {
	root := examples.evaluation(["wlzIndicatie"], examples.own_indication, [id])
	nested := examples.evaluation(["wlzIndicatie", "grondslag"], [examples.equal("grondslag", "01")], ["grondslagID"])
	refused(examples.indication_request([root, nested]), {"filter_not_in_template"})
}

test_a_nested_entity_without_its_root_is_refused if {
	nested := examples.evaluation(["wlzIndicatie", "client"], [], ["bsn"])
	refused(examples.indication_request([nested]), {"filter_required"})
}

test_one_of_two_roots_too_wide_is_refused if {
	good := examples.evaluation(["wlzIndicatie"], examples.own_indication, [id])
	wide := examples.evaluation(["wlzIndicatie"], [examples.equal(zorgkantoor, "5000")], [id])
	refused(examples.indication_request([good, wide]), {"filter_required"})
	decision := access.decision with input as examples.indication_request([good, wide])
	decision.evaluations == [
		{"allow": true, "reasons": []},
		{"allow": false, "reasons": ["filter_required"]},
	]
}

# --- refused for the fields

test_one_field_too_many_is_refused if {
	refused(examples.one_indication(examples.own_indication, [id, "id"]), {"field_not_in_template"})
}

test_a_nested_field_too_many_is_refused if {
	root := examples.evaluation(["wlzIndicatie"], examples.own_indication, [id])
	nested := examples.evaluation(["wlzIndicatie", "client"], [], ["bsn", "id"])
	refused(examples.indication_request([root, nested]), {"field_not_in_template"})
}

test_an_entity_taken_for_a_field_is_refused if {
	refused(examples.one_indication(examples.own_indication, ["client"]), {"field_not_in_template"})
}

test_an_entity_outside_the_template_is_refused if {
	root := examples.evaluation(["wlzIndicatie"], examples.own_indication, [id])
	nested := examples.evaluation(["wlzIndicatie", "client", "huisarts"], [], [])
	refused(examples.indication_request([root, nested]), {"field_not_in_template"})
}

test_an_empty_path_is_refused if {
	root := examples.evaluation(["wlzIndicatie"], examples.own_indication, [id])
	nowhere := patched(root, "/resource/properties/path", [])
	decision := access.decision with input as examples.indication_request([root, nowhere])
	decision.allow == false
	"field_not_in_template" in decision.reasons
}

test_a_path_as_text_is_refused if {
	root := examples.evaluation(["wlzIndicatie"], examples.own_indication, [id])
	odd := patched(root, "/resource/properties/path", "wlzIndicatie")
	decision := access.decision with input as examples.indication_request([root, odd])
	decision.allow == false
}

# --- refused for the caller, scope, purpose, action

test_a_zorgaanbieder_is_refused if {
	request := patched(examples.one_indication(examples.own_indication, [id]), "/subject", examples.zorgaanbieder)
	refused(request, {"no_rule"})
}

test_a_user_is_refused if {
	refused(patched(examples.one_indication(examples.own_indication, [id]), "/subject/type", "user"), {"no_rule"})
}

test_a_zorgkantoor_without_uzovi_is_refused if {
	request := patched(examples.one_indication(examples.own_indication, [id]), "/subject/properties/identifiers", {})
	refused(request, {"own_zorgkantoor_required"})
}

test_without_scope_is_refused if {
	every scopes in [[], ["registers/wlzbemiddelingsregister/bemiddelingen/bemiddeling:read"], ["unknown:read"]] {
		request := patched(examples.one_indication(examples.own_indication, [id]), "/token/scopes", scopes)
		refused(request, {"scope_required"})
	}
}

test_another_purpose_is_refused if {
	request := patched(examples.one_indication(examples.own_indication, [id]), "/context/purpose_of_use", "ONDERZOEK")
	refused(request, {"purpose_not_allowed"})
}

test_a_mutation_is_refused if {
	request := patched(examples.one_indication(examples.own_indication, [id]), "/evaluations/0/action/name", "MUTATION")
	refused(request, {"action_not_allowed"})
}

test_another_action_is_refused if {
	path := "/evaluations/0/action/properties/action"
	refused(patched(examples.one_indication(examples.own_indication, [id]), path, "update"), {"action_not_allowed"})
}

refused(request, reasons) if {
	decision := access.decision with input as request
	decision.allow == false
	{reason | some reason in decision.reasons} == reasons
}

# --- parts that are missing: no denial may be skipped because something is undefined

test_every_missing_part_is_refused_with_a_reason if {
	request := examples.one_indication(examples.own_indication, [id])
	every path in [
		"/subject",
		"/subject/type",
		"/subject/properties",
		"/subject/properties/organization_type",
		"/subject/properties/identifiers",
		"/token",
		"/token/scopes",
		"/context",
		"/context/service",
		"/context/purpose_of_use",
		"/evaluations",
		"/evaluations/0",
		"/evaluations/0/action",
		"/evaluations/0/action/name",
		"/evaluations/0/action/properties",
		"/evaluations/0/resource",
		"/evaluations/0/resource/properties",
		"/evaluations/0/resource/properties/path",
		"/evaluations/0/resource/properties/fields",
		"/evaluations/0/resource/properties/query_filter",
		"/evaluations/0/resource/properties/query_filter/and",
	] {
		decision := access.decision with input as json.patch(request, [{"op": "remove", "path": path}])
		decision.allow == false
		count(decision.reasons) > 0
		not "not_permitted" in decision.reasons
	}
}
