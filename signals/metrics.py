"""What a run was worth: arrays in, numbers out."""
