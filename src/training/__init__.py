"""Networks that are trained further: from prepared images and labels to class probabilities."""
