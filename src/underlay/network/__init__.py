"""Networks of containers: addresses, bridges, the firewall, names."""
