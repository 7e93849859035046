"""Money, numbers, prefixes, decks, quotes: pure integers. Imports nothing of ours."""
