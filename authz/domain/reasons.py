"""Every reason for which this product refuses, as a stable machine-readable code.

A code is written to the audit record and may be counted, searched and alerted on for years: codes are added, never
renamed or reused. What a caller is told is a separate, careful sentence (`Refused.detail`).
"""

from enum import StrEnum


class Reason(StrEnum):
    """Stable refusal codes, grouped by where they arise."""

    # Requests as such (transport, syntax, size).
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_FOUND = "not_found"
    QUERY_PARAMETERS = "query_parameters"
    CONTENT_TYPE = "content_type"
    CONTENT_ENCODING = "content_encoding"
    BODY_TOO_LARGE = "body_too_large"
    BODY_MALFORMED = "body_malformed"
    BODY_TIMEOUT = "body_timeout"
    PARAMETER_DUPLICATE = "parameter_duplicate"
    PARAMETER_MISSING = "parameter_missing"
    PARAMETER_MALFORMED = "parameter_malformed"
    PARAMETER_UNKNOWN = "parameter_unknown"
    HEADER_FORBIDDEN = "header_forbidden"
    RATE_LIMITED = "rate_limited"

    # The client certificate.
    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_MALFORMED = "certificate_malformed"
    CERTIFICATE_UNVERIFIED_BY_EDGE = "certificate_unverified_by_edge"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_ISSUER_UNPINNED = "certificate_issuer_unpinned"
    CERTIFICATE_PATH = "certificate_path"
    CERTIFICATE_ALGORITHM = "certificate_algorithm"
    CERTIFICATE_USAGE = "certificate_usage"
    CERTIFICATE_IS_CA = "certificate_is_ca"
    CERTIFICATE_IDENTITY = "certificate_identity"
    CERTIFICATE_ENVIRONMENT = "certificate_environment"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CRL_MISSING = "crl_missing"
    CRL_STALE = "crl_stale"
    CRL_INVALID = "crl_invalid"
    OCSP_INVALID = "ocsp_invalid"
    OCSP_MISSING = "ocsp_missing"
    CREDENTIAL_UNKNOWN = "credential_unknown"
    CREDENTIAL_BLOCKED = "credential_blocked"
    CREDENTIAL_REVOKED = "credential_revoked"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"

    # The token endpoint.
    GRANT_TYPE_UNSUPPORTED = "grant_type_unsupported"
    CLIENT_ID_MISSING = "client_id_missing"
    CLIENT_ID_MISMATCH = "client_id_mismatch"
    CLIENT_SECRET_PRESENT = "client_secret_present"  # noqa: S105  a reason code, not a password
    SCOPE_MISSING = "scope_missing"
    SCOPE_MALFORMED = "scope_malformed"
    SCOPE_UNKNOWN = "scope_unknown"
    SCOPE_NOT_ALLOWED = "scope_not_allowed"
    SCOPE_NOT_FOR_AUDIENCE = "scope_not_for_audience"
    ENVIRONMENT_MISMATCH = "environment_mismatch"
    AUDIENCE_MISSING = "audience_missing"
    AUDIENCE_MULTIPLE = "audience_multiple"
    AUDIENCE_MALFORMED = "audience_malformed"
    AUDIENCE_UNKNOWN = "audience_unknown"
    DOMAIN_INSECURE = "domain_insecure"
    DOMAIN_BOGUS = "domain_bogus"
    DOMAIN_INDETERMINATE = "domain_indeterminate"
    DOMAIN_UNREACHABLE = "domain_unreachable"
    DANE_ABSENT = "dane_absent"
    DANE_MISMATCH = "dane_mismatch"
    DANE_FAILED = "dane_failed"
    DANE_ADDRESS = "dane_address"
    DANE_UNREACHABLE = "dane_unreachable"
    DANE_UNCHECKED = "dane_unchecked"
    DOMAIN_ABSENT = "domain_absent"
    DOMAIN_UNCHECKED = "domain_unchecked"
    SUBJECT_MALFORMED = "subject_malformed"
    SUBJECT_UNKNOWN = "subject_unknown"
    ACTOR_EQUALS_SUBJECT = "actor_equals_subject"
    MANDATE_MISSING = "mandate_missing"
    AUTHORIZATION_DETAILS_UNSUPPORTED = "authorization_details_unsupported"

    # Policy.
    POLICY_DENIED = "policy_denied"
    POLICY_UNAVAILABLE = "policy_unavailable"
    POLICY_STALE = "policy_stale"

    # A token at the agent.
    TOKEN_MISSING = "token_missing"  # noqa: S105
    TOKEN_MULTIPLE = "token_multiple"  # noqa: S105
    TOKEN_MALFORMED = "token_malformed"  # noqa: S105
    TOKEN_ALGORITHM = "token_algorithm"  # noqa: S105
    TOKEN_TYPE = "token_type"  # noqa: S105
    TOKEN_KEY_UNKNOWN = "token_key_unknown"  # noqa: S105
    TOKEN_SIGNATURE = "token_signature"  # noqa: S105
    TOKEN_ISSUER = "token_issuer"  # noqa: S105
    TOKEN_AUDIENCE = "token_audience"  # noqa: S105
    TOKEN_CLAIMS = "token_claims"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"  # noqa: S105
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    TOKEN_BINDING = "token_binding"  # noqa: S105
    TOKEN_SCOPE = "token_scope"  # noqa: S105

    # GraphQL at the agent.
    GRAPHQL_MALFORMED = "graphql_malformed"
    GRAPHQL_SYNTAX = "graphql_syntax"
    GRAPHQL_LIMIT = "graphql_limit"
    GRAPHQL_NO_OPERATION = "graphql_no_operation"
    GRAPHQL_OPERATIONS = "graphql_operations"
    GRAPHQL_OPERATION_TYPE = "graphql_operation_type"
    GRAPHQL_DIRECTIVE = "graphql_directive"
    GRAPHQL_INTROSPECTION = "graphql_introspection"
    GRAPHQL_INVALID = "graphql_invalid"
    GRAPHQL_VARIABLES = "graphql_variables"
    GRAPHQL_VALUE = "graphql_value"
    GRAPHQL_FILTER = "graphql_filter"
    NEW_DOCUMENTS_LIMITED = "new_documents_limited"
    CARE_CLIENT_OUTSIDE_GRANT = "care_client_outside_grant"

    # Trust material of the agent that is missing or past its maximum age.
    KEYS_STALE = "keys_stale"
    REVOCATIONS_STALE = "revocations_stale"
    BUNDLE_STALE = "bundle_stale"

    # Ourselves.
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    AUDIT_TAMPERED = "audit_tampered"
    RECORD_SOURCE = "record_source"
    RECORD_EVENT = "record_event"
    RECORD_CONFLICT = "record_conflict"
    RECORD_TIME = "record_time"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    INTERNAL_ERROR = "internal_error"

    # The certificate authority.
    IDENTITY_HAS_CERTIFICATE = "identity_has_certificate"
    REQUEST_MALFORMED = "request_malformed"
    REQUEST_SIGNATURE = "request_signature"
    KEY_WEAK = "key_weak"
    KEY_REUSED = "key_reused"
    RENEWAL_UNDERWAY = "renewal_underway"
    LINT_FAILED = "lint_failed"
    ISSUER_IN_USE = "issuer_in_use"
    DNS_NAME_TAKEN = "dns_name_taken"
    DNS_NAME_OF_PRODUCTION = "dns_name_of_production"
    REGISTER_CONTRADICTS_CERTIFICATE = "register_contradicts_certificate"
    RENEWAL_TOO_SOON = "renewal_too_soon"
    RENEWALS_EXHAUSTED = "renewals_exhausted"
    CERTIFICATE_UNKNOWN = "certificate_unknown"
    CERTIFICATE_NOT_ACTIVE = "certificate_not_active"

    # Enrolment.
    CREDENTIALS_MISSING = "credentials_missing"
    CODE_INVALID = "code_invalid"
    CODE_OTHER_IDENTITY = "code_other_identity"
    CODE_EXPIRED = "code_expired"
    CODE_USED = "code_used"
    CODE_WITHDRAWN = "code_withdrawn"
    CODE_LOCKED = "code_locked"
    CODE_UNAPPROVED = "code_unapproved"
    CODE_INCOMPLETE = "code_incomplete"
    CODE_OTHER_KEY = "code_other_key"
    CODE_EXISTS = "code_exists"
    CODE_UNKNOWN = "code_unknown"
    APPROVER_IS_CREATOR = "approver_is_creator"
    OPERATOR_KEY_REQUIRED = "operator_key_required"
    OPERATOR_UNKNOWN = "operator_unknown"
    STATEMENT_DIFFERS = "statement_differs"
    OPERATOR_SIGNATURE = "operator_signature"
    TWO_PERSONS_REQUIRED = "two_persons_required"
    KEY_BLOCKED = "key_blocked"

    @property
    def is_about_the_certificate(self) -> bool:
        """Whether whoever presented it has shown nothing: none, or one that is no good by its own content."""
        return self.value.startswith("certificate_")
