"""Does a training start with this loss? Many short trainings, and what their gradients were."""
