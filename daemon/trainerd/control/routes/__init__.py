"""What can be asked of the control socket: one module for each noun."""
