package access_test

import data.access
import data.lib.examples_test as examples

patched(request, path, value) := json.patch(request, [{"op": "replace", "path": path, "value": value}])

good := examples.one_indication(examples.own_indication, ["bsn"])

test_a_permit_has_no_reasons if {
	decision := access.decision with input as good
	decision == {
		"allow": true,
		"reasons": [],
		"policy_id": "IRA0001",
		"obligations": {},
		"evaluations": [{"allow": true, "reasons": []}],
	}
}

test_nothing_to_evaluate_is_refused if {
	decision := access.decision with input as patched(good, "/evaluations", [])
	decision.allow == false
	"nothing_to_evaluate" in decision.reasons
	decision.evaluations == []
}

test_evaluations_of_another_shape_are_refused if {
	every shape in [null, {}, {"a": good.evaluations[0]}, "text", 1] {
		decision := access.decision with input as patched(good, "/evaluations", shape)
		decision.allow == false
		"nothing_to_evaluate" in decision.reasons
	}
}

test_no_input_is_refused if {
	decision := access.decision with input as {}
	decision.allow == false
	decision.reasons == ["no_rule", "nothing_to_evaluate"]
	decision.policy_id == ""
}

test_another_register_has_no_rule if {
	decision := access.decision with input as patched(good, "/context/service", "zorgleveringsregister")
	decision.allow == false
	decision.reasons == ["no_rule"]
	decision.evaluations == [{"allow": false, "reasons": ["no_rule"]}]
}

test_a_register_name_of_another_type_has_no_rule if {
	every service in [null, 1, ["wlzindicatieregister"], {}] {
		decision := access.decision with input as patched(good, "/context/service", service)
		decision.reasons == ["no_rule"]
	}
}

test_a_reason_of_the_request_falls_on_each_evaluation if {
	request := examples.indication_request(array.concat(good.evaluations, good.evaluations))
	decision := access.decision with input as patched(request, "/token/scopes", [])
	decision.evaluations == [
		{"allow": false, "reasons": ["scope_required"]},
		{"allow": false, "reasons": ["scope_required"]},
	]
}

# Two rules that each permit one evaluation do not together permit two.
test_permits_of_several_rules_do_not_add_up if {
	decision := access.decision with input as good
		with data.access.rules.wlzindicatieregister as {
			"one": {"applies": true, "permits": false, "reasons": set(), "findings": [set(), {"a"}]},
			"two": {"applies": true, "permits": false, "reasons": set(), "findings": [{"b"}, set()]},
		}
	decision.allow == false
	decision.reasons == ["a", "b"]
	decision.policy_id == "ONE+TWO"
}

test_one_of_several_rules_is_enough if {
	decision := access.decision with input as good
		with data.access.rules.wlzindicatieregister as {
			"one": {"applies": true, "permits": false, "reasons": {"a"}, "findings": [set()]},
			"two": {"applies": true, "permits": true, "reasons": set(), "findings": [set()]},
		}
	decision.allow == true
	decision.policy_id == "TWO"
}

test_a_permit_that_is_not_literally_true_is_none if {
	every answer in ["true", 1, {}, [true]] {
		decision := access.decision with input as good
			with data.access.rules.wlzindicatieregister as {"odd": {"applies": true, "permits": answer, "reasons": {"a"}, "findings": []}}
		decision.allow == false
	}
}

test_a_denial_always_has_a_reason if {
	decision := access.decision with input as good
		with data.access.rules.wlzindicatieregister as {"odd": {"applies": true, "permits": false, "reasons": set(), "findings": [set()]}}
	decision.allow == false
	decision.reasons == ["not_permitted"]
}
