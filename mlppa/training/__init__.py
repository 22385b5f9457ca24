"""The zoo's nursery: simulated skies through the live path, networks, and their cards."""
