"""The development topology: four nodes on loopback, started, filled, asked and stopped again."""
