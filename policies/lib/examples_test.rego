# METADATA
# title: Examples
# description: Requests that tests start from; each is permitted as it stands, so that a test changes one thing.
package lib.examples_test

indication_id := "da8ebd42-d29b-4508-8604-ae7d2c6bbddd"

equal(field, value) := {"field": field, "operator": "eq", "value": value}

own_indication := ["wlzindicatieID" == indication_id, "initieelVerantwoordelijkZorgkantoor" == "5000"]

evaluation(path, conjuncts, fields) := {
	"action": {"name": "QUERY", "properties": {"action": "read"}},
	"resource": {
		"type": "WLZ_INDICATIE",
		"id": "",
		"properties": {
			"path": path,
			"query_filter": {"and": conjuncts},
			"fields": fields,
			"operation": path[0],
		},
	},
}

# The whole of QIR-0001-ZKi, as the agent asks about it.
template_evaluations := [item |
	walk(data.data.templates["QIR-0001-ZKi"].paths, [path, entity])
	count(path) > 0
	is_object(entity)
	item := evaluation(path, {1: own_indication}[count(path)], [name | some name, true in entity])
]

nested_evaluations := [item |
	walk(data.data.templates["QIR-0001-ZKi"].paths, [path, entity])
	count(path) > 1
	is_object(entity)
	item := evaluation(path, [], [name | some name, true in entity])
]

whole_template := array.concat(template_evaluations, nested_evaluations)

zorgkantoor := {
	"type": "organization",
	"id": "uzovi:5000",
	"properties": {
		"organization_type": "ZORGKANTOOR",
		"roles": [],
		"identifiers": {"uzovi_code": "5000"},
		"actor": null,
	},
}

zorgaanbieder := {
	"type": "organization",
	"id": "agbcode:01234567",
	"properties": {
		"organization_type": "ZORGAANBIEDER",
		"roles": [],
		"identifiers": {"agb_code": "01234567"},
		"actor": null,
	},
}

context(service) := {
	"service": service,
	"purpose_of_use": "WLZ_UITVOERING",
	"time": "2026-11-22T12:00:00Z",
}

indication_request(evaluations) := {
	"subject": zorgkantoor,
	"token": {"scopes": ["registers/wlzindicatieregister/indicaties/indicatie:read"], "authorization_details": []},
	"context": context("wlzindicatieregister"),
	"evaluations": evaluations,
}

one_indication(conjuncts, fields) := indication_request([evaluation(["wlzIndicatie"], conjuncts, fields)])

mediation_request(owner) := {
	"subject": zorgkantoor,
	"token": {"scopes": ["registers/wlzbemiddelingsregister/bemiddelingen/bemiddeling:read"], "authorization_details": []},
	"context": object.union(context("wlzbemiddelingsregister"), {"register_owner": owner}),
	"evaluations": [evaluation(["bemiddeling"], [], ["bemiddelingID"])],
}

token_request(scopes) := {
	"participant": {
		"id": "uzovi:5000",
		"organization_type": "ZORGKANTOOR",
		"roles": ["afnemer"],
		"identifiers": {"uzovi": "5000"},
		"environment": "TST",
	},
	"scopes": scopes,
	"audience": {
		"url": "https://pep.ciz.nl/graphql",
		"organization": "CIZ",
		"function": "REGISTER",
		"environment": "TST",
		"register": "wlzindicatieregister",
	},
	"actor": null,
	"mandates": [],
	"grants": [],
	"context": {"time": "2026-11-22T12:00:00Z"},
}

test_the_whole_template_has_eighteen_entities if count(whole_template) == 18

test_the_whole_template_has_one_root if {
	count([item | some item in whole_template; count(item.resource.properties.path) == 1]) == 1
}
