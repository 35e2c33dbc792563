# METADATA
# title: May this request pass?
# description: |
#   Decides on all evaluations of one request together. A request passes only when one single rule permits every
#   evaluation of it: permits of several rules are never added up, because a wide filter under one rule and wide fields
#   under another would together show what neither permits.
#
#   Each rule is a package under `access.rules.<register>` with `applies`, `permits`, `reasons` (of the
#   request as a whole) and `findings` (a set of reasons for each evaluation, in order). Adding a file there adds a rule.
# schemas:
#   - input: schema.access
package access

import data.lib.evaluations as list

# METADATA
# title: the decision
# description: Always defined. A denial has at least one reason; a permit has none.
# scope: document
# entrypoint: true
decision := {
	"allow": true,
	"reasons": [],
	"policy_id": policy_id(permitting),
	"obligations": {},
	"evaluations": [{"allow": true, "reasons": []} | some _ in input.evaluations],
} if {
	allow
} else := {
	"allow": false,
	"reasons": sort(reasons),
	"policy_id": policy_id(applicable),
	"obligations": {},
	"evaluations": verdicts,
}

default allow := false

allow if {
	has_evaluations
	count(permitting) > 0
}

permitting contains name if {
	some name
	data.access.rules[input.context.service][name].permits == true
}

applicable contains name if {
	some name
	data.access.rules[input.context.service][name].applies == true
}

# A helper, because of `not list.present(input.evaluations)` nothing would remain when the member is missing.
has_evaluations if list.present(input.evaluations)

reasons := denials if count(denials) > 0

# No rule of this bundle gets here; a rule that forgets its reason still gives a denial with one.
reasons := {"not_permitted"} if count(denials) == 0

denials contains "nothing_to_evaluate" if not has_evaluations

denials contains "no_rule" if count(applicable) == 0

denials contains reason if {
	some name in applicable
	some reason in data.access.rules[input.context.service][name].reasons
}

denials contains reason if {
	some name in applicable
	some finding in data.access.rules[input.context.service][name].findings
	some reason in finding
}

# An evaluation falls with its request: a reason of the request is a reason of each evaluation.
verdicts := [verdict |
	some index, _ in input.evaluations
	reasons := verdict_reasons[index]
	verdict := {"allow": count(reasons) == 0, "reasons": sort(reasons)}
]

verdict_reasons[index] := {"no_rule"} if {
	some index, _ in input.evaluations
	count(applicable) == 0
}

verdict_reasons[index] := own | shared if {
	count(applicable) > 0
	some index, _ in input.evaluations
	own := {reason | some name in applicable; some reason in data.access.rules[input.context.service][name].findings[index]}
	shared := {reason | some name in applicable; some reason in data.access.rules[input.context.service][name].reasons}
}

policy_id(names) := concat("+", sort([upper(name) | some name in names]))
