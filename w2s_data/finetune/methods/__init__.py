"""Methods: ways to train a student on weak labels, one file each, registered by name."""
