"""Networks of a machine: taps on the host, interfaces in the machine, and the relay of DNS questions between the two."""
