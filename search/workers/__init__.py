"""Worker processes on this machine: started, fed with orders, watched, replaced."""
