"""How one trial is trained, epoch by epoch, and what it leaves in its folder."""
