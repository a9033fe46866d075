"""The command line: one file a command, each parse → one library call → render → exit code."""
