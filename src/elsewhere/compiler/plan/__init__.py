"""Where everything lies and when it happens: layouts, addresses, order and the share of every core."""
