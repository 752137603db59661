"""The kernel's networking: netlink messages, interfaces, nf_tables, namespaces, ports."""
