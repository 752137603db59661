"""Completion of command lines in shells: what may stand where the cursor is, and the scripts that ask for it."""
