# METADATA
# title: IRA0001, the zorgkantoor that is initially responsible reads one indication
# description: |
#   The rule of query template QIR-0001-ZKi: `wlzindicatieID` and `initieelVerantwoordelijkZorgkantoor` are asked for
#   with `eq`, the latter equals the UZOVI code of the subject, and only fields of the template are read.
#   Does not check that the indication exists or that the zorgkantoor is the one it names: the register applies the
#   filter, and the agent forwards exactly the filter that was judged here.
# related_resources:
#   - description: QIR-0001-ZKi version 1.0.0, 2024-10-04
#     ref: https://github.com/iStandaarden/iWlz-indicatie
# schemas:
#   - input: schema.access
package access.rules.wlzindicatieregister.ira0001

import data.lib.evaluations as list
import data.lib.scopes
import data.lib.template as templates

template := data.data.templates["QIR-0001-ZKi"]

default applies := false

applies if {
	input.context.service == "wlzindicatieregister"
	input.subject.type == "organization"
	input.subject.properties.organization_type == "ZORGKANTOOR"
}

default permits := false

permits if {
	applies
	has_purpose
	has_scope
	has_root
	every evaluation in input.evaluations {
		list.is_read(evaluation)
		templates.covers_fields(template, evaluation)
		templates.covers_filter(template, evaluation)
		is_required_and_own(evaluation)
	}
}

reasons contains "purpose_not_allowed" if not has_purpose

reasons contains "scope_required" if not has_scope

# Nested entities carry no filter: without the evaluation of the field that does, nothing would bound them.
reasons contains "filter_required" if not has_root

findings := [finding |
	some index, _ in input.evaluations
	finding := {refusal.reason | some refusal in refusals; refusal.index == index}
]

refusals contains {"index": index, "reason": "action_not_allowed"} if {
	some index, evaluation in input.evaluations
	not list.is_read(evaluation)
}

refusals contains {"index": index, "reason": "field_not_in_template"} if {
	some index, evaluation in input.evaluations
	not templates.covers_fields(template, evaluation)
}

refusals contains {"index": index, "reason": "filter_not_in_template"} if {
	some index, evaluation in input.evaluations
	not templates.covers_filter(template, evaluation)
}

refusals contains {"index": index, "reason": "filter_required"} if {
	some index, evaluation in input.evaluations
	list.is_root(evaluation)
	not templates.has_required_filters(template, evaluation)
}

refusals contains {"index": index, "reason": "own_zorgkantoor_required"} if {
	some index, evaluation in input.evaluations
	list.is_root(evaluation)
	not is_own(evaluation)
}

is_required_and_own(evaluation) if not list.is_root(evaluation)

is_required_and_own(evaluation) if {
	templates.has_required_filters(template, evaluation)
	is_own(evaluation)
}

is_own(evaluation) if {
	asked := templates.required_value(evaluation, "initieelVerantwoordelijkZorgkantoor")
	asked == input.subject.properties.identifiers.uzovi_code
}

has_purpose if input.context.purpose_of_use == "WLZ_UITVOERING"

has_scope if {
	scopes.grants(
		data.data.scopes,
		input.token.scopes,
		input.subject.properties.organization_type,
		"wlzindicatieregister",
		"read",
	)
}

has_root if {
	some evaluation in input.evaluations
	list.is_root(evaluation)
}
