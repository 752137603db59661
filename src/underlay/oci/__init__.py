"""OCI and Docker formats: types, digests, references, documents that keep their bytes; no input or output."""
