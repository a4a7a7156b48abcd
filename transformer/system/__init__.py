"""What has nothing to do with learning: errors, files, processes, threads, graphs."""
