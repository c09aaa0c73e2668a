"""How many nets a verdict needs: planning a study, and stopping it when its question is settled."""
