"""Objectives: functions, exact proxies, and how they are loaded by name."""
