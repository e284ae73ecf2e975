"""The machine a process runs on: its devices, memory, disk and other processes."""
