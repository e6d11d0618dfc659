"""What a plan can become: the NumPy reference, this machine's cores, a simulated tensor streaming processor."""
