"""How models are made and measured: data sets, training, evaluation."""
