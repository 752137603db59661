"""Images that are not here: what registries list, their documents, and pulls."""
