# METADATA
# title: Evaluations
# description: What holds for the list of AuthZEN evaluations of one request as a whole.
package lib.evaluations

# METADATA
# title: there is something to evaluate
# scope: document
present(evaluations) if {
	is_array(evaluations)
	count(evaluations) > 0
}

# METADATA
# title: the evaluation is a read by a query
# scope: document
is_read(evaluation) if {
	evaluation.action.name == "QUERY"
	evaluation.action.properties.action == "read"
}

# METADATA
# title: the evaluation is that of a field at the top of the query
# scope: document
is_root(evaluation) if count(evaluation.resource.properties.path) == 1
