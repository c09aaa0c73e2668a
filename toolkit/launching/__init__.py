"""From the words of a launch to tasks, and from tasks to what is submitted."""
