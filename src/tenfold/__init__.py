"""One base language model, many skills."""
