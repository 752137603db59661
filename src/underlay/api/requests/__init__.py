"""What requests ask for: queries, bodies and logins, checked and made into options of the engine."""
