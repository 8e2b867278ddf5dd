"""(learner, trajectories) -> a number per action token: one file per estimator."""
