"""The checkpoint store: manifests, layers, attempts, retention."""
