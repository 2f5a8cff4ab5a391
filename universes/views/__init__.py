"""The pages about universes."""
