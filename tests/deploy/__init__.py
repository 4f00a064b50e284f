"""How alertd is deployed: the shell secretary run for real, and the units read by systemd itself."""
