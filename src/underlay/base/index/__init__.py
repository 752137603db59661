"""The index of known builds: made from records, looked up without being unpacked."""
