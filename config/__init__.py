"""Settings: frozen structs, a TOML loader and the commented example. Imports nothing of ours."""
