"""What every layer may use: files, memory, interrupts, checks of parameters, and keyed random draws."""
