"""Commands on bases: what images stand on, and what follows from it."""
