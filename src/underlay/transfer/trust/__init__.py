"""Trust in images: signatures beside them in their repository, and the policy that says which of them must be there."""
