"""`TorchTask` and the built-in tasks."""
