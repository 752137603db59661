"""Who may do what: rules for the clients of a socket."""
