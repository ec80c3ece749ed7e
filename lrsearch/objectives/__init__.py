"""What turns runs into outcomes: exact proxies and real training runs."""
