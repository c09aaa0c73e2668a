"""Training: one task or a pack of tasks from one loader. Nothing here is imported by the light verbs but `cost`."""
