"""Commands that serve docker's clients: serve, compose, system dial-stdio."""
