"""Where steps are executed: sandboxes, snapshots, mounts, and the caches of RUN."""
