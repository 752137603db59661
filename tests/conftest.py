"""Being here, this file puts the directory of shared helpers on the path of all tests (pytest, "prepend")."""
