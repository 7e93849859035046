"""The data plane: SIP sockets, engine, journal. Never imports the control plane."""
