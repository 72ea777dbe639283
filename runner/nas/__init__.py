"""Neural architecture search. The folders space, training and search need only torch and numpy."""
