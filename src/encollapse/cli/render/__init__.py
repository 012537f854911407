"""What the terminal shows: tables and cards, with rich."""
