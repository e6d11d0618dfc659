"""Networks with known shapes become static programs: addresses, order and shares of cores decided before they run."""
