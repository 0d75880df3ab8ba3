"""The bus: every state change of a task as a typed message on an AMQP exchange."""
