"""Every count, length and depth of a GraphQL request that the agent accepts, by name.

Specification: shared `cases/graphql.md` 12, 21, 24 to 26 and 29; `style.md` rule 8. The defaults hold the largest
published template (144 fields, 421 tokens, 7 kB, no alias, no fragment) with room to spare, and keep every document
from costing much more than that one does (docs/decisions/0128).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on one request, and on what is remembered between requests.

    Attributes:
        body_bytes: length of the request body.
        json_depth: nesting of the request body; variables with filters nest about 8 deep.
        document_bytes: length of the document's text in UTF-8, which is a part of the body.
        tokens: lexical tokens of the document, counted before and while it is parsed.
        comments: comments in the document.
        depth: nesting of selections, where a fragment counts as a level.
        fields: selected fields after all fragments have been expanded.
        aliases: fields that are given another name.
        fragments: named fragments; comparing each with each other costs quadratic time.
        root_fields: fields selected on the query or mutation type itself, after expansion: each is a lookup.
        repeats: selections with one response name at one place; merging them costs quadratic time.
        directives: `@skip` and `@include` in one document.
        variables: declared variables.
        evaluations: occurrences of annotated fields after expansion.
        filter_conditions: comparisons in all filters of one field.
        filter_depth: nesting of `and`, `or`, `not` and relations within a filter.
        list_items: values in one list, such as that of `in`.
        text_length: characters in one text value.
        page_size: largest value of a paging argument.
        canonical_bytes: length of the canonical body, which travels to the register by way of a header.
        typename: whether `__typename` may be selected below the root. It tells no more than the published schema
            does, and common client libraries add it by themselves.
        filter_argument: name of the argument that holds the filter.
        page_arguments: names of arguments that limit the number of results; where a field has one, it is required.
        cached_documents: documents remembered of which a request was permitted.
        cached_bytes: estimated memory of those documents.
        other_documents: documents and refusals remembered besides, of which no request was permitted yet.
        other_bytes: estimated memory of those.
        new_documents: documents that are not remembered, from one caller at once.
        new_documents_per_second: from one caller, after those.
    """

    body_bytes: int = 65_536
    json_depth: int = 20
    document_bytes: int = 12_288
    tokens: int = 600
    comments: int = 200
    depth: int = 20
    fields: int = 200
    aliases: int = 20
    fragments: int = 20
    root_fields: int = 10
    repeats: int = 10
    directives: int = 20
    variables: int = 50
    evaluations: int = 100
    filter_conditions: int = 64
    filter_depth: int = 10
    list_items: int = 50
    text_length: int = 512
    page_size: int = 100
    canonical_bytes: int = 32_768
    typename: bool = True
    filter_argument: str = "where"
    page_arguments: tuple[str, ...] = ("first", "last", "take", "limit")
    cached_documents: int = 256
    cached_bytes: int = 16_777_216
    other_documents: int = 64
    other_bytes: int = 2_097_152
    new_documents: int = 20
    new_documents_per_second: float = 2.0
