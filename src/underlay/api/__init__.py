"""Docker's Engine API: a server that answers docker's clients by the engine, as one more caller of it."""
