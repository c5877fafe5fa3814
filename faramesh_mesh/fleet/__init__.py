"""Pure views over the state: who is enrolled, what is killed, how far a rollout is, and what each agent may do."""
