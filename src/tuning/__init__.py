"""Parameters chosen by Optuna's studies, on training parts."""
