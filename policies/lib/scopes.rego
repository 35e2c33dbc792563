# METADATA
# title: Scopes
# description: |
#   Which entry of the scope catalogue fits which party, register and audience. The catalogue itself is data, managed
#   by stelselbeheer. These functions do not check that a token really holds a scope: their caller hands verified ones.
package lib.scopes

# METADATA
# title: some scope in the list gives the right on the register to an organisation of this type
# scope: document
grants(catalogue, scopes, organization_type, register, right) if {
	some scope in scopes
	entry := catalogue[scope]
	entry.register == register
	entry.right == right
	entry.organization_types[organization_type] == true
}

# METADATA
# title: the scope belongs to what stands behind this audience
# description: A register scope names the register; a notification or report scope names the kind of party that gets it.
# scope: document
for_audience(entry, audience) if {
	entry.function == "REGISTER"
	audience.function == "REGISTER"
	entry.register == audience.register
}

for_audience(entry, audience) if {
	entry.function in {"MELDING", "NOTIFICATIE"}
	audience.function == entry.function
	entry.audience_type == organization_type(audience.organization)
}

# METADATA
# title: the type of an organisation in the address book, told from the form of its identifier
# description: The address book names CIZ, a UZOVI code (4 digits) or an AGB code (8 digits), with or without a prefix.
# scope: document
organization_type("CIZ") := "CIZ"

organization_type(organization) := "ZORGKANTOOR" if {
	organization != "CIZ"
	count(trim_prefix(organization, "uzovi:")) == 4
}

organization_type(organization) := "ZORGAANBIEDER" if count(trim_prefix(organization, "agbcode:")) == 8
