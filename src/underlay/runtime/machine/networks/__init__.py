"""Networks of a machine: taps on the host, interfaces in it, and the way of questions for names between the two."""
