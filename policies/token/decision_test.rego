package token_test

import data.lib.examples_test as examples
import data.token

read := "registers/wlzindicatieregister/indicaties/indicatie:read"

older := "registers/wlzindicatieregister/indicaties:read"

patched(request, path, value) := json.patch(request, [{"op": "replace", "path": path, "value": value}])

permitted(request) if {
	decision := token.decision with input as request
	decision == {"allow": true, "reasons": [], "policy_id": "TOKEN", "obligations": {}}
}

refused(request, reasons) if {
	decision := token.decision with input as request
	decision.allow == false
	{reason | some reason in decision.reasons} == reasons
}

notify(function, organization) := patched(
	examples.token_request(["organisaties/zorgkantoor/notificaties/notificatie:create"]),
	"/audience",
	{"url": "https://x", "organization": organization, "function": function, "environment": "TST"},
)

test_a_scope_of_the_register_is_permitted if permitted(examples.token_request([read]))

test_both_forms_of_the_scope_are_permitted if permitted(examples.token_request([read, older]))

test_without_scope_is_refused if refused(examples.token_request([]), {"scope_missing"})

test_scopes_of_another_shape_are_refused if {
	every shape in [null, "text", {}, 1] {
		decision := token.decision with input as examples.token_request(shape)
		decision.allow == false
		"scope_missing" in decision.reasons
	}
}

test_an_unknown_scope_refuses_the_whole_request if {
	refused(examples.token_request([read, "registers/other:read"]), {"scope_unknown"})
}

test_a_scope_in_capitals_is_unknown if refused(examples.token_request([upper(read)]), {"scope_unknown"})

test_a_scope_that_is_no_text_is_unknown if refused(examples.token_request([1]), {"scope_unknown"})

test_a_scope_for_others_is_refused if {
	request := patched(examples.token_request([read]), "/participant/organization_type", "BURGER")
	refused(request, {"scope_not_allowed"})
}

test_without_organization_type_is_refused if {
	request := json.patch(examples.token_request([read]), [{"op": "remove", "path": "/participant/organization_type"}])
	refused(request, {"scope_not_allowed"})
}

test_a_scope_of_another_register_is_refused if {
	scopes := ["registers/wlzbemiddelingsregister/bemiddelingen/bemiddeling:read"]
	refused(examples.token_request(scopes), {"scope_not_for_audience"})
}

test_a_register_scope_for_another_function_is_refused if {
	request := patched(examples.token_request([read]), "/audience/function", "MELDING")
	refused(request, {"scope_not_for_audience"})
}

test_an_audience_without_register_is_refused if {
	request := json.patch(examples.token_request([read]), [{"op": "remove", "path": "/audience/register"}])
	refused(request, {"scope_not_for_audience"})
}

test_another_environment_is_refused if {
	refused(patched(examples.token_request([read]), "/audience/environment", "PRD"), {"environment_mismatch"})
}

test_two_missing_environments_are_not_equal if {
	request := json.patch(examples.token_request([read]), [
		{"op": "remove", "path": "/audience/environment"},
		{"op": "remove", "path": "/participant/environment"},
	])
	refused(request, {"environment_mismatch"})
}

test_without_participant_is_refused if {
	decision := token.decision with input as patched(examples.token_request([read]), "/participant/id", "")
	decision.allow == false
	decision.reasons == ["participant_incomplete"]
}

test_no_input_is_refused if {
	decision := token.decision with input as {}
	decision.allow == false
	count(decision.reasons) > 0
}

# --- notifications and reports go to a kind of organisation

test_a_notification_to_a_zorgkantoor_is_permitted if permitted(notify("NOTIFICATIE", "5001"))

test_a_notification_to_a_zorgkantoor_with_prefix_is_permitted if permitted(notify("NOTIFICATIE", "uzovi:5001"))

test_a_notification_to_a_zorgaanbieder_needs_its_own_scope if {
	refused(notify("NOTIFICATIE", "01234567"), {"scope_not_for_audience"})
}

test_a_notification_to_ciz_needs_its_own_scope if refused(notify("NOTIFICATIE", "CIZ"), {"scope_not_for_audience"})

test_a_notification_scope_does_not_report if refused(notify("MELDING", "5001"), {"scope_not_for_audience"})

test_a_report_to_ciz_is_permitted if {
	scopes := ["organisaties/indicatieorgaan/meldingen/melding:create"]
	permitted(patched(notify("MELDING", "CIZ"), "/scopes", scopes))
}

test_a_report_to_a_zorgaanbieder_is_permitted if {
	scopes := ["organisaties/zorgaanbieder/meldingen/melding:create"]
	permitted(patched(notify("MELDING", "agbcode:01234567"), "/scopes", scopes))
}

# --- on behalf of

test_an_actor_without_mandate_is_refused if {
	refused(patched(examples.token_request([read]), "/actor", "agbcode:01234567"), {"mandate_missing"})
}

test_an_actor_with_mandate_is_permitted if {
	permitted(acting("agbcode:01234567", {"mandator": "uzovi:5000", "actor": "agbcode:01234567", "scopes": [read]}))
}

test_a_mandate_to_somebody_else_is_refused if {
	mandate := {"mandator": "uzovi:5000", "actor": "agbcode:07654321", "scopes": [read]}
	refused(acting("agbcode:01234567", mandate), {"mandate_missing"})
}

test_a_mandate_from_somebody_else_is_refused if {
	mandate := {"mandator": "uzovi:5001", "actor": "agbcode:01234567", "scopes": [read]}
	refused(acting("agbcode:01234567", mandate), {"mandate_missing"})
}

test_a_mandate_for_another_scope_is_refused if {
	mandate := {"mandator": "uzovi:5000", "actor": "agbcode:01234567", "scopes": [older]}
	refused(acting("agbcode:01234567", mandate), {"mandate_missing"})
}

test_a_missing_actor_is_not_taken_for_none if {
	refused(json.patch(examples.token_request([read]), [{"op": "remove", "path": "/actor"}]), {"mandate_missing"})
}

acting(actor, mandate) := json.patch(examples.token_request([read]), [
	{"op": "replace", "path": "/actor", "value": actor},
	{"op": "replace", "path": "/mandates", "value": [mandate]},
])

# --- parts that are missing: no denial may be skipped because something is undefined

test_every_missing_part_is_refused_with_a_reason if {
	every path in [
		"/participant",
		"/participant/id",
		"/participant/organization_type",
		"/participant/environment",
		"/scopes",
		"/audience",
		"/audience/function",
		"/audience/register",
		"/audience/environment",
		"/actor",
	] {
		decision := token.decision with input as json.patch(examples.token_request([read]), [{"op": "remove", "path": path}])
		decision.allow == false
		count(decision.reasons) > 0
	}
}
