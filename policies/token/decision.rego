# METADATA
# title: May this deelnemer get these scopes for this audience?
# description: |
#   Decides on a token request whose caller, audience and mandates have been verified before. All scopes or none: a
#   request with one scope too many is refused whole, so that nobody gets less than asked without noticing.
# schemas:
#   - input: schema.token
package token

import data.lib.scopes

# METADATA
# title: the decision
# description: Always defined. A denial has at least one reason; a permit has none.
# scope: document
# entrypoint: true
decision := {
	"allow": allow,
	"reasons": sort(denials),
	"policy_id": "TOKEN",
	"obligations": {},
}

default allow := false

allow if {
	has_scopes
	is_known_participant
	count(denials) == 0
}

denials contains "scope_missing" if not has_scopes

denials contains "participant_incomplete" if not is_known_participant

denials contains "scope_unknown" if {
	some scope in input.scopes
	not data.data.scopes[scope]
}

denials contains "scope_not_allowed" if {
	some scope in input.scopes
	entry := data.data.scopes[scope]
	not may_have(entry)
}

denials contains "scope_not_for_audience" if {
	some scope in input.scopes
	entry := data.data.scopes[scope]
	not is_for_audience(entry)
}

denials contains "environment_mismatch" if not is_same_environment

denials contains "mandate_missing" if {
	not is_own_behalf
	some scope in input.scopes
	not has_mandate(scope)
}

has_scopes if {
	is_array(input.scopes)
	count(input.scopes) > 0
}

is_known_participant if {
	is_string(input.participant.id)
	input.participant.id != ""
}

may_have(entry) if entry.organization_types[input.participant.organization_type] == true

is_for_audience(entry) if scopes.for_audience(entry, input.audience)

is_same_environment if {
	is_string(input.participant.environment)
	input.participant.environment == input.audience.environment
}

# Compared with null, so that a request without the member is not taken for one on its own behalf.
is_own_behalf if input.actor == null

has_mandate(scope) if {
	some mandate in input.mandates
	mandate.mandator == input.participant.id
	mandate.actor == input.actor
	scope in mandate.scopes
}
