"""What a node tells over REST, as structures: the one description of what acts answer.

The client reads answers into them, the OpenAPI document is made of them (`resolver.api.openapi`),
and schemathesis holds nodes to that. A member with a default may be missing. A client takes members
that it does not know, so that nodes may tell more than they did; the document has them all.
"""
