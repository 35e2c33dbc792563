# METADATA
# title: Query templates
# description: |
#   Whether one AuthZEN evaluation stays within a published query template: its fields by schema path, its filters by
#   meaning. A template is data: `filters` (what must be asked for with `eq`) and `paths` (a tree; `true` is a field, an
#   object is a nested entity). Sets are written as objects with `true`, because JSON has no sets and a lookup in data
#   costs no work per decision.
package lib.template

# METADATA
# title: the entity of the template that this path names
# description: Undefined for an empty path, which would name the whole template, and for a path that ends at a field.
# scope: document
entity(template, path) := found if {
	is_array(path)
	count(path) > 0
	found := object.get(template.paths, path, null)
	is_object(found)
}

# METADATA
# title: every field that an evaluation asks for is a field of the template at its path
# description: |
#   Takes the evaluation whole, here and below: of `not f(evaluation.resource)` nothing remains when the resource is
#   missing, while `not f(evaluation)` still denies.
# scope: document
covers_fields(template, evaluation) if {
	properties := evaluation.resource.properties
	allowed := entity(template, properties.path)
	is_array(properties.fields)
	every field in properties.fields {
		allowed[field] == true
	}
}

# METADATA
# title: the filters of an evaluation are those of the template and no others
# description: |
#   The top of the query carries only equalities on the template's filter fields; nested entities carry no filter at
#   all. `or`, `not`, other operators and other fields all fall outside, wherever they stand.
# scope: document
covers_filter(template, evaluation) if {
	properties := evaluation.resource.properties
	count(properties.path) == 1
	object.keys(properties.query_filter) == {"and"}
	is_array(properties.query_filter.and)
	every member in properties.query_filter.and {
		is_equality(template, member)
	}
}

covers_filter(_, evaluation) if {
	properties := evaluation.resource.properties
	count(properties.path) > 1
	properties.query_filter == {"and": []}
}

# METADATA
# title: a member of the filter is an equality on a filter field of the template
# scope: document
is_equality(template, member) if {
	count(member) == 3
	member.operator == "eq"
	template.filters[member.field] == true
	is_string(member.value)
}

# METADATA
# title: the one value that a field must equal
# description: |
#   Undefined unless exactly one equality on the field stands in the top conjunction: a filter inside `or` or `not`
#   does not count, and of two equalities a register might apply only one. Undefined for an empty text and for null.
# scope: document
required_value(evaluation, field) := value if {
	conjuncts := evaluation.resource.properties.query_filter.and
	values := [member.value | some member in conjuncts; member.field == field; member.operator == "eq"]
	count(values) == 1
	value := values[0]
	is_string(value)
	value != ""
}

# METADATA
# title: every filter that the template demands is conjunctively required
# scope: document
has_required_filters(template, evaluation) if {
	every field, _ in template.filters {
		required_value(evaluation, field)
	}
}
