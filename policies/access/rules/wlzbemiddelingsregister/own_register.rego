# METADATA
# title: own_register, a zorgkantoor reads everything of its own Bemiddelingsregister
# description: |
#   Every zorgkantoor holds a Bemiddelingsregister of its own. Who holds the one behind this agent is told by the agent
#   (`context.register_owner`, from its settings); the register catalogue says that ownership works this way.
#   Does not look at fields or filters: a holder may see all it holds.
# schemas:
#   - input: schema.access
package access.rules.wlzbemiddelingsregister.own_register

import data.lib.evaluations as list
import data.lib.scopes

default applies := false

applies if {
	input.context.service == "wlzbemiddelingsregister"
	input.subject.type == "organization"
	input.subject.properties.organization_type == "ZORGKANTOOR"
}

default permits := false

permits if {
	applies
	has_purpose
	has_scope
	is_owner
	list.present(input.evaluations)
	every evaluation in input.evaluations {
		list.is_read(evaluation)
	}
}

reasons contains "purpose_not_allowed" if not has_purpose

reasons contains "scope_required" if not has_scope

reasons contains "own_register_required" if not is_owner

findings := [finding |
	some evaluation in input.evaluations
	finding := {"action_not_allowed" | not list.is_read(evaluation)}
]

has_purpose if input.context.purpose_of_use == "WLZ_UITVOERING"

has_scope if {
	scopes.grants(
		data.data.scopes,
		input.token.scopes,
		input.subject.properties.organization_type,
		"wlzbemiddelingsregister",
		"read",
	)
}

is_owner if {
	data.data.registers.wlzbemiddelingsregister.owner == "each_zorgkantoor"
	uzovi := input.subject.properties.identifiers.uzovi_code
	is_string(uzovi)
	uzovi != ""
	input.context.register_owner == concat(":", ["uzovi", uzovi])
}
