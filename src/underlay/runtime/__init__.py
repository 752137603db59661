"""The runtime: makes a process of an OCI specification, by plan, monitor and init; knows neither images nor the engine."""
