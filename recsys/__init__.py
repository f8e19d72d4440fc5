"""What should be shown, and how good would that be: training, baselines, evaluation, the bundle, recommending."""
