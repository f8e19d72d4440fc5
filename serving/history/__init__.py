"""What Redis knows of users and has counted, given back from the archive should it forget."""
