"""A network whose shapes are known becomes a static program: every address, order and core's share is decided before it runs."""
