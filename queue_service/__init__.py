"""The queue service: owner of task and run state, and of the messages that tell about it."""
