"""What a monitor does for its container's networks: it lends out sockets, and watches the firewall."""
